"""Compares Ponder's answer equivalence with math-verify alone on MATH-500 grader pairs.

Run `python benchmarks/grader_pairs.py`. The rewritten half asserts that its two answers are equal
(though a lossy rewriting broke some); the real outputs carry no label, so every row on which the
two graders differ is adjudicated by hand in `grader_pairs_adjudicated.json`, by row id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ponder.verifiers import MathEquivalence, extract

ROOT = Path(__file__).resolve().parent.parent
ADJUDICATED = Path(__file__).with_name("grader_pairs_adjudicated.json")
ALONE = """
import json, sys
from math_verify import parse, verify
for line in sys.stdin:
    row = json.loads(line)
    print(json.dumps(verify(parse("$" + row["answer"] + "$"), parse(row["prediction"]))))
"""

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


async def ours(rows: list[Row]) -> list[bool]:
    equivalence = MathEquivalence()
    answers = [extract(row["prediction"]) for row in rows]
    verdicts = [
        answer is not None and await equivalence.same(row["answer"], answer)
        for row, answer in zip(rows, answers, strict=True)
    ]
    await equivalence.close()
    return verdicts


def alone(rows: list[Row]) -> list[bool]:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    child = subprocess.run(
        [sys.executable, "-c", ALONE], input=lines, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in child.stdout.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    accepted: dict[str, dict[str, int]]
    """By half: its rows, and how many of them each grader accepts."""
    disagreements: dict[str, dict[str, bool]]
    rejected: list[str]
    """Rewritten rows that ours rejects."""
    unexplained: list[str]
    """Ids on which behaviour and adjudication differ, either way."""


def compare(rows: list[Row]) -> Report:
    mine, theirs = asyncio.run(ours(rows)), alone(rows)
    pairs = list(zip(rows, mine, theirs, strict=True))
    accepted = dict[str, dict[str, int]]()
    for row, a, b in pairs:
        half = accepted.setdefault(row["subject"], {"rows": 0, "ours": 0, "alone": 0})
        half["rows"] += 1
        half["ours"] += a
        half["alone"] += b
    differ = {row["id"]: {"ours": a, "alone": b} for row, a, b in pairs if a != b}
    rejected = [row["id"] for row, a, _ in pairs if row["subject"] == "rewritten" and not a]
    known = json.loads(ADJUDICATED.read_text("utf-8"))
    strange = set(known["disagreements"]) ^ set(differ) | set(known["rejected"]) ^ set(rejected)
    return Report(
        accepted=accepted,
        disagreements=differ,
        rejected=rejected,
        unexplained=sorted(strange),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(os.environ.get("PONDER_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=folder / "math500_grader_pairs.jsonl")
    report = compare(read(parser.parse_args().data))
    print(json.dumps(asdict(report), indent=2))
    return 1 if report.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
