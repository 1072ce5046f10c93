"""Evals on the real orchestrator with the scripted engine: from a task to a report and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from ponder.evals import (
    Report,
    RunDirectory,
    evaluate,
    find_task,
    fingerprint,
    load_examples,
    run_settings,
    solve_with,
)
from ponder.orchestrator import Budget, Runtime, read_trace, recompute, sample, vote
from ponder.runtime import InputError, ScriptedEngine
from ponder.verifiers import ExactEquivalence

TASK = find_task("wordproblems")
EXAMPLES = load_examples(TASK, limit=12, seed=5)
STRATEGY = sample(8, temperature=1.0, max_tokens=80) | vote()


def half_right(prompt: str) -> Mapping[str, float]:
    """Right, wrong or speechless, as the question's length decides."""
    answer = next(e.answer for e in EXAMPLES if e.question in prompt)
    if len(prompt) % 7 == 0:
        return {"I do not know.": 1.0}
    return {f"So it is \\boxed{{{answer}}}.": len(prompt) % 5 + 1, "It is \\boxed{7777}.": 3.0}


def run(
    out: Path, *, budget: Budget | None = None, limit: int = 12, context: int = 1_000_000
) -> Report:
    engine = ScriptedEngine(half_right, context_length=context)
    runtime = Runtime(engine, equivalence=ExactEquivalence())
    settings = run_settings(TASK, EXAMPLES, STRATEGY, seed=3, model=engine.name, budget=budget)
    with RunDirectory(out, settings) as directory:
        return asyncio.run(
            evaluate(
                TASK,
                EXAMPLES[:limit],
                solve_with(runtime, STRATEGY, task=TASK, budget=budget, out=directory),
                equivalence=ExactEquivalence(),
                strategy="vote",
                seed=3,
                out=directory,
                concurrency=4,
            )
        )


def test_reports_agree_with_the_traces(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    assert (result.n, result.status, result.failed) == (12, "complete", 0)
    assert 0 < result.correct < 12
    assert set(result.pass_at) == set(result.maj_at) == {1, 2, 4, 8}
    # All eight candidates voting is what the strategy did.
    assert result.maj_at[8].value == result.accuracy
    assert result.pass_at[8].value is not None
    assert result.pass_at[8].value >= result.correct / 12
    traces = [read_trace(path) for path in (tmp_path / "run" / "traces").iterdir()]
    assert len(traces) == 12
    assert result.tokens == sum(recompute(t.events).usage.tokens for t in traces)


def test_a_shorter_session_then_the_rest(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    part = run(tmp_path / "parts", limit=5)
    resumed = run(tmp_path / "parts")
    assert part.n == 5
    shown, expected = resumed.as_dict(), whole.as_dict()
    for name in ("seconds", "tokens_per_second"):
        del shown[name], expected[name]
    assert shown == expected


def test_small_budgets_and_contexts_are_counted(tmp_path: Path) -> None:
    tight = run(tmp_path / "tight", budget=Budget(tokens=300))
    assert (tight.n, tight.exhausted, tight.failed) == (12, 12, 0)
    assert tight.tokens <= 12 * 300
    assert tight.pass_at[1].value is not None
    assert tight.pass_at[8].value is None
    longest = max(len(e.question) for e in EXAMPLES)
    narrow = run(tmp_path / "narrow", context=longest + len(TASK.instruction) + 10)
    assert (narrow.n, narrow.failed) == (12, 1)


def test_settings_name_what_decides(tmp_path: Path) -> None:
    settings = run_settings(TASK, EXAMPLES, STRATEGY, seed=3, model="m", budget=None)
    assert settings["data"] == fingerprint(EXAMPLES)
    assert "sample" in str(settings["strategy"])
    run(tmp_path / "run")
    with pytest.raises(InputError, match="another budget"):
        run(tmp_path / "run", budget=Budget(tokens=300))
