"""Evals that are recorded, and run again without a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import CONFIG, tiny

from ponder.evals import Report, find_task, load_examples, run_task
from ponder.orchestrator import (
    Budget,
    Expression,
    Runtime,
    agreement,
    best,
    judge,
    load_strategy,
    sample,
    vote,
    when,
)
from ponder.runtime import Engine, NotRecorded, RecordingEngine, ReplayEngine, ScriptedEngine
from ponder.runtime.engine.engine import LocalEngine
from ponder.verifiers import ExactEquivalence

TASK = replace(find_task("wordproblems"), shots=(), instruction="Answer inside a box.")
EXAMPLES = load_examples(TASK, limit=6, seed=5)
SETTINGS: dict[str, Any] = {"temperature": 1.0, "max_tokens": 24}
STRATEGY = (
    sample(8, **SETTINGS)
    | judge("self_evaluation")
    | when(agreement() < 0.5, then=sample(3, **SETTINGS) | vote(), otherwise=best())
)
TIMES = {"at", "seconds", "finished"}


def scripted() -> Engine:
    def script(prompt: str) -> Mapping[str, float]:
        if "Is the final answer" in prompt:
            return {"Yes": 1.0 + len(prompt) % 3, "No": 1.0}
        return {f"It is \\boxed{{{n}}}.": 1.0 + (len(prompt) + n) % 4 for n in range(4)}

    # Who finishes first is another one each time.
    return ScriptedEngine(script, delay=lambda path, tokens: path.key()[0] % 5 / 2000)


def local() -> Engine:
    shape = replace(CONFIG, context_length=1024)
    return LocalEngine(tiny(shape), pages=1500, threads=1)


def run(
    engine: Engine,
    out: Path | None = None,
    strategy: Expression = STRATEGY,
    *,
    concurrency: int = 64,
    seed: int = 3,
    budget: Budget | None = None,
) -> Report:
    async def body() -> Report:
        runtime = Runtime(engine, equivalence=ExactEquivalence(), concurrency=concurrency)
        try:
            return await run_task(
                runtime, TASK, EXAMPLES, strategy, label="s", seed=seed, out=out, budget=budget
            )
        finally:
            await runtime.close()

    return asyncio.run(body())


def traces(out: Path, *, timed: bool) -> dict[str, Any]:
    found = {path.name: path.read_bytes() for path in (out / "traces").iterdir()}
    if not timed:
        return found
    return {
        name: [without_times(line) for line in text.splitlines()] for name, text in found.items()
    }


def without_times(line: bytes | str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if name not in TIMES}


def records(out: Path) -> list[dict[str, Any]]:
    lines = (out / "records.jsonl").read_text().splitlines()
    return sorted(map(without_times, lines), key=lambda record: str(record["id"]))


@pytest.mark.parametrize(("make", "timed"), [(scripted, False), (local, True)])
def test_a_replayed_eval_is_the_recorded_one(
    make: Callable[[], Engine], timed: bool, tmp_path: Path
) -> None:
    """To the byte; where the engine's clock runs, but for times, which are the replay's own."""
    file = tmp_path / "calls"
    run(RecordingEngine(make(), file), tmp_path / "first")
    want = traces(tmp_path / "first", timed=timed), records(tmp_path / "first")
    assert len(want[0]) == len(EXAMPLES)
    for concurrency in (1, 64):
        out, engine = tmp_path / str(concurrency), ReplayEngine(file)
        report = run(engine, out, concurrency=concurrency)
        assert (traces(out, timed=timed), records(out)) == want
        assert (out / "run.json").read_bytes() == (tmp_path / "first" / "run.json").read_bytes()
        assert report.tokens == sum(record["usage"]["prompt"] for record in want[1]) + sum(
            record["usage"]["decoded"] + record["usage"]["scored"] for record in want[1]
        )
        assert engine.stats().computed == 0
    # The replay's traces are equal to the byte in any case.
    assert traces(tmp_path / "1", timed=False) == traces(tmp_path / "64", timed=False)


def test_recording_changes_no_trace(tmp_path: Path) -> None:
    run(scripted(), tmp_path / "bare", concurrency=1)
    run(RecordingEngine(scripted(), tmp_path / "calls"), tmp_path / "kept")
    assert traces(tmp_path / "bare", timed=False) == traces(tmp_path / "kept", timed=False)


def test_a_budget_that_binds_is_replayed(tmp_path: Path) -> None:
    budget = Budget(tokens=500)
    first = run(RecordingEngine(scripted(), tmp_path / "calls"), tmp_path / "a", budget=budget)
    again = run(ReplayEngine(tmp_path / "calls"), tmp_path / "b", budget=budget, concurrency=3)
    assert first.exhausted == again.exhausted == len(EXAMPLES)
    assert traces(tmp_path / "a", timed=False) == traces(tmp_path / "b", timed=False)


def test_another_strategy_on_the_same_calls(tmp_path: Path) -> None:
    file, more, fewer = tmp_path / "calls", sample(8, **SETTINGS), sample(4, **SETTINGS)
    run(RecordingEngine(scripted(), file), strategy=more | vote())
    want = run(scripted(), tmp_path / "bare", fewer | judge("likelihood") | best())
    got = run(ReplayEngine(file), tmp_path / "replay", fewer | judge("likelihood") | best())
    assert (got.correct, got.tokens) == (want.correct, want.tokens)
    assert traces(tmp_path / "bare", timed=False) == traces(tmp_path / "replay", timed=False)


@pytest.mark.parametrize(
    ("strategy", "seed", "said"),
    [
        (sample(9, **SETTINGS) | vote(), 3, "/sample/0/8: no such branch"),
        (sample(8, max_tokens=23) | vote(), 3, "max_tokens was 24, and is 23"),
        (sample(8, **SETTINGS) | vote(), 4, "run with seed"),
    ],
)
def test_what_is_not_on_record_ends_the_run_and_is_named(
    strategy: Expression, seed: int, said: str, tmp_path: Path
) -> None:
    run(RecordingEngine(scripted(), tmp_path / "calls"))
    with pytest.raises(NotRecorded, match=said) as caught:
        run(ReplayEngine(tmp_path / "calls"), tmp_path / "out", strategy, seed=seed)
    assert str(caught.value).startswith("question 'wordproblems-s5-d1-")
    assert "/sample" in str(caught.value)
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == b"", "none counts as failed"


def test_a_resumed_run_goes_on_recording(tmp_path: Path) -> None:
    """Two sessions, one file; a finished run replays as nothing to ask."""
    file, out = tmp_path / "calls", tmp_path / "out"
    run(RecordingEngine(scripted(), file), out)
    (out / "records.jsonl").write_bytes(
        b"".join((out / "records.jsonl").read_bytes().splitlines(keepends=True)[:2])
    )
    again = RecordingEngine(scripted(), file)
    run(again, out)
    assert again.differing == 0
    run(ReplayEngine(file), out)
    run(ReplayEngine(file), tmp_path / "replayed")
    assert records(tmp_path / "replayed") == [{**r, "session": 0} for r in records(out)]


EXAMPLE_STRATEGIES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLE_STRATEGIES, ids=lambda path: path.stem)
def test_every_example_is_replayed_to_the_byte(path: Path, tmp_path: Path) -> None:
    """Searches too, which fork, judge and close as they go."""
    strategy, file = load_strategy(str(path)), tmp_path / "calls"
    run(RecordingEngine(scripted(), file), tmp_path / "first", strategy)
    for concurrency in (1, 64):
        out = tmp_path / str(concurrency)
        run(ReplayEngine(file), out, strategy, concurrency=concurrency)
        assert traces(out, timed=False) == traces(tmp_path / "first", timed=False)
