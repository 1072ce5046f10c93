"""The whole path on the embedded model: the same answers whatever shares the batch, and after a
crash.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from ponder import Budget, Runtime, load_strategy, open_engine, sample, vote
from ponder.evals import Report, find_task, load_examples, run_task
from ponder.verifiers import ExactEquivalence

STRATEGY = sample(4, temperature=0.8, max_tokens=24) | vote()


async def evaluate(out: Path, concurrency: int) -> Report:
    engine = open_engine()
    runtime = Runtime(engine, equivalence=ExactEquivalence(), concurrency=concurrency)
    task = find_task("wordproblems")
    examples = load_examples(task, limit=4, seed=5)
    try:
        return await run_task(runtime, task, examples, STRATEGY, label="", seed=5, out=out)
    finally:
        await runtime.close()


def records(out: Path) -> dict[str, tuple[object, ...]]:
    rows = map(json.loads, (out / "records.jsonl").read_text().splitlines())
    return {row["id"]: (row["answer"], row["correct"], row["candidates"]) for row in rows}


def test_answers_do_not_depend_on_concurrency(tmp_path: Path) -> None:
    for concurrency in (1, 64):
        asyncio.run(evaluate(tmp_path / str(concurrency), concurrency))
    assert records(tmp_path / "1") == records(tmp_path / "64")
    assert len(records(tmp_path / "1")) == 4


def test_a_killed_run_ends_with_the_same_answers(tmp_path: Path) -> None:
    strategy = tmp_path / "strategy.yaml"
    strategy.write_text("pipe: [{sample: {n: 2, max_tokens: 16}}, {vote: {}}]")

    def words(out: str) -> list[str]:
        command = [sys.executable, "-m", "ponder.cli", "eval", "wordproblems", "--limit", "5"]
        options = ["--strategy", str(strategy), "--concurrency", "2", "--out", str(tmp_path / out)]
        return [*command, *options, "--json"]

    with subprocess.Popen(words("killed"), stdout=subprocess.DEVNULL) as process:
        written = tmp_path / "killed" / "records.jsonl"
        while not (written.exists() and written.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = len(records(tmp_path / "killed"))
    told = [subprocess.run(words(o), capture_output=True, check=True) for o in ("killed", "whole")]
    resumed, whole = (json.loads(done.stdout) for done in told)
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert (resumed["n"], resumed["correct"]) == (whole["n"], whole["correct"])
    assert 2 <= before < 5
    assert len(written.read_text().splitlines()) == 5


def test_a_budget_of_seconds_ends_a_decode_under_way() -> None:
    async def run() -> tuple[str, int]:
        engine = open_engine()
        try:
            runtime = Runtime(engine, equivalence=ExactEquivalence())
            result = await runtime.solve(
                "Tell a long story.",
                load_strategy("self_consistency"),
                budget=Budget(seconds=0.5),
                seed=1,
            )
            return result.status.value, engine.stats().branches
        finally:
            await engine.close()

    assert asyncio.run(run()) == ("exhausted", 0)
