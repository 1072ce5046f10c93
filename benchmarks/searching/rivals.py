"""The same of others: TreeQuest's bookkeeping; its-hub's re-sent prefixes and stragglers."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator

from benchmarks.contenders import RIVALS, ROOT
from benchmarks.overhead.bench import Bench, Endpoint, Measured
from benchmarks.overhead.metrics import Row, trouble
from benchmarks.overhead.script import STAGED, Settings, question
from benchmarks.rivals.asking import Ask

ALGORITHMS = ("ABMCTSA", "StandardMCTS", "TreeOfThoughtsBFS")
TREEQUEST = RIVALS / "treequest" / "bin" / "python"
SECONDS = 20.0
"""Of CPU that one tree may take; it grows with the square of its nodes."""
SIZES = (8, 16, 32)
SLOW = Settings(delay=0.05, sigma=1.0)


def treequest(quick: bool) -> Iterator[Row]:
    """CPU a node."""
    for name in ALGORITHMS:
        row = Row(metric="bookkeeping", case=name, contender="treequest")
        if not TREEQUEST.exists():
            row.note = "not installed: run `make .rivals/treequest/ready`"
        for size in (100,) if quick else (100, 1_000):
            if row.note:
                break
            told = _grown(name, size)
            row.add({f"us a node at {size:,}": told["seconds"] / told["nodes"] * 1e6})
            if told["nodes"] < size:
                row.note = f"stopped at {told['nodes']} nodes, after {SECONDS:.0f} s"
        yield row


def _grown(name: str, nodes: int) -> dict[str, float]:
    words = ["-m", "benchmarks.rivals.treequest", name, str(nodes), str(SECONDS)]
    done = subprocess.run(
        [TREEQUEST, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def its_hub(quick: bool) -> Iterator[Row]:
    """Beam and particles on the scripted endpoint: one question, and many at once."""
    with Endpoint() as endpoint:
        bench = Bench(endpoint, ["its_hub"])
        try:
            for method in ("beam", "particle_filter"):
                for size in SIZES[:1] if quick else SIZES:
                    yield from _searched(bench, method, size, quick)
        finally:
            bench.close()


def _searched(bench: Bench, method: str, size: int, quick: bool) -> Iterator[Row]:
    case = f"{method}, budget {size}"
    sent = Row(metric="prefill", case=case, contender="its_hub")
    slow = Row(metric="straggler", case=case, contender="its_hub")
    sent.note = slow.note = bench.missing.get("its_hub", "")
    if not sent.note:
        done = bench.measure("its_hub", _ask(bench, method, size, 1), Settings())
        sent.note, counts = trouble(_ask(bench, method, size, 1), done), done.counts
        if counts["prompt_tokens"]:
            share = counts["repeated_tokens"] / counts["prompt_tokens"]
            sent.add({"prompt tokens": counts["prompt_tokens"], "sent before, share": share})
        for seed in range(1 if quick else 3):
            done = bench.measure("its_hub", _ask(bench, method, size, 1), _seeded(seed))
            slow.add({"alone": _excess(done, size)})
        if size == SIZES[0] and not quick:
            many = bench.measure("its_hub", _ask(bench, method, size, 16), SLOW)
            most = many.counts["most_in_flight"]
            slow.note = f"of 16 questions, {most} requests in flight: these methods have no limit"
    yield from (sent, slow)


def _ask(bench: Bench, method: str, size: int, questions: int) -> Ask:
    return Ask(
        method=method,  # type: ignore[arg-type]  # one of the two above
        questions=[f"{question(i)} {STAGED}" for i in range(questions)],
        n=size,
        url=bench.endpoint.url(),
        model="single",
        at_once=questions,
    )


def _seeded(seed: int) -> Settings:
    return Settings(delay=SLOW.delay, sigma=SLOW.sigma, seed=seed)


def _excess(done: Measured, at_once: int) -> float:
    """Wall time over even time: how many could be in flight, over how many were."""
    busy: float = done.counts["mean_in_flight"]
    return at_once / busy if busy else math.nan
