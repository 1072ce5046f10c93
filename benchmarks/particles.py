"""Ponder's particles and constraints: what they save of their model, and what they cost beside it.

    make particles                            # once: genlm-control, vLLM, a place for pictures
    .venv/bin/python benchmarks/particles.py --json

prints the tables of each part (`benchmarks/sampling/` says what they are), with the floors of the
design, and as its last line JSON. `--quick` tries all of it in a minute; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.overhead.report import machine
from benchmarks.sampling import accuracy, ahead, checks, posterior, speed
from benchmarks.sampling.table import Given, Table

PARTS: dict[str, Callable[[Given], Iterator[Table]]] = {
    "accuracy": accuracy.tables,
    "checks": checks.tables,
    "ahead": ahead.tables,
    "posterior": posterior.tables,
    "speed": speed.tables,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--items", type=int, default=Given().items, help="of the oracle")
    parser.add_argument("--rounds", type=int, default=Given().rounds, help="of what takes time")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--picture", type=Path, help="FILE.svg or FILE.png to write curves into")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def main() -> None:
    asked, before = arguments(), machine()
    given = Given(quick=asked.quick, items=asked.items, rounds=asked.rounds, picture=asked.picture)
    print(f"machine: {before}")
    told: dict[str, list[dict[str, object]]] = {}
    for name in asked.parts:
        for table in PARTS[name](given):
            print(f"\n{table}", flush=True)
            told.setdefault(name, []).append(table.as_json())
    after = {**before, "load average at the end": machine()["load average"]}
    if asked.json:
        print(json.dumps({"machine": after, "parts": told}))


if __name__ == "__main__":
    main()
