"""Self-consistency beyond a fixed number of samples, run under budgets: equal traces, true counts,
true bounds; and what is cancelled changes no answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guessing import WEIGHTS, Ticking, guesses, runtime, shuffled
from tiny_llama import CONFIG, tiny

import ponder
from ponder.orchestrator import (
    PRESETS,
    Budget,
    Expression,
    Result,
    Runtime,
    Status,
    adaptive_consistency,
    certainty,
    early_stopping,
    from_yaml,
    judge,
    mbr,
    parallel,
    plan,
    recompute,
    sample,
    to_yaml,
    universal,
    vote,
    when,
)
from ponder.runtime import Engine, RecordingEngine, ReplayEngine, ScriptedEngine
from ponder.runtime.engine.engine import LocalEngine
from ponder.strategies.stopping import RULES
from ponder.verifiers import ExactEquivalence

SHAPES: dict[str, Expression] = {
    **{rule: adaptive_consistency(8, rule=rule, max_tokens=20) | vote() for rule in sorted(RULES)},
    "judged": adaptive_consistency(8, rule="share", max_tokens=20)
    | judge("self_evaluation")
    | vote("judge"),
    "windows": early_stopping(2, most=7, max_tokens=20) | vote(),
    "universal": sample(5, max_tokens=20) | universal(max_tokens=30),
    "mbr": early_stopping(3, most=6, max_tokens=20) | judge("likelihood") | mbr("rougeL"),
    "side by side": parallel(
        adaptive_consistency(6, max_tokens=20), early_stopping(3, most=6, max_tokens=20)
    )
    | when(certainty() > 0.5, then=vote(), otherwise=universal(max_tokens=30)),
}
MANY: dict[str, Expression] = {
    rule: adaptive_consistency(12, rule=rule, parallel=5, max_tokens=20, name="draws") | vote()
    for rule in RULES
}


def tells(prompt: str) -> Mapping[str, float]:
    """As a judge of many it names the first that says 1, if any does, and else nothing."""
    if "end your reply with its number" not in prompt:
        return guesses(prompt)
    shown = re.findall(r"Response (\d+):\n---\n(.*?)\n---", prompt)
    right = [number for number, text in shown if "answer is 1" in text]
    return {f"Response {right[0]}" if right else "None of them.": 1.0}


def solved(
    strategy: Expression,
    *,
    seed: int = 0,
    concurrency: int = 64,
    salt: int = 0,
    budget: Budget | None = None,
) -> Result:
    engine = ScriptedEngine(tells, delay=shuffled(salt))
    result = asyncio.run(
        runtime(engine, concurrency).solve("Which?", strategy, seed=seed, budget=budget)
    )
    stats, used = engine.stats(), result.usage.total
    assert stats.branches == 0
    assert (stats.prefilled, stats.decoded, stats.scored) == (
        used.prompt,
        used.decoded,
        used.scored,
    )
    assert recompute(result.trace.events) == result.numbers
    return result


@pytest.mark.parametrize("share", [None, 1.0, 0.5, 0.2, 0.05], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_seeds_give_equal_traces_at_any_concurrency(shape: str, share: float | None) -> None:
    strategy = SHAPES[shape]
    most = plan(strategy, ScriptedEngine(tells)).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    for seed in range(2):
        runs = [
            solved(strategy, seed=seed, concurrency=concurrency, salt=salt, budget=budget)
            for concurrency, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({run.trace.jsonl() for run in runs}) == 1
        if budget is not None and budget.tokens is not None:
            assert runs[0].usage.tokens <= budget.tokens


@pytest.mark.parametrize("calls", [1, 3, 6])
@pytest.mark.parametrize("shape", [*SHAPES, "many"])
def test_budgets_of_calls_are_as_deterministic(shape: str, calls: int) -> None:
    strategy = {**SHAPES, "many": MANY["beta"]}[shape]
    runs = [solved(strategy, seed=5, concurrency=c, budget=Budget(calls=calls)) for c in (1, 64)]
    assert runs[0].trace.jsonl() == runs[1].trace.jsonl()
    assert 0 < runs[0].calls <= calls
    assert runs[0].answer in WEIGHTS


@pytest.mark.parametrize("shape", SHAPES)
def test_no_run_breaks_its_bound(shape: str) -> None:
    most = plan(SHAPES[shape], ScriptedEngine(tells)).total
    for seed in range(10):
        result = solved(SHAPES[shape], seed=seed)
        assert result.calls <= most.calls
        assert result.usage.tokens <= most.tokens
        assert result.status is Status.COMPLETE


def decided(result: Result) -> Any:
    """All of a run but for what the cancelled attempts had drawn."""
    kept = {("draws", i) for i in range(len(result.candidates))}
    calls = [
        event
        for event in result.trace.events
        if event["event"] == "call" and (event["path"][0], event["path"][-1]) in kept
    ]
    told = [e for e in result.trace.events if e["event"] in ("consistency", "vote", "answer")]
    return result.candidates, result.answer, result.confidence, result.chosen, calls, told


@pytest.mark.parametrize("rule", RULES)
def test_what_is_cancelled_changes_nothing_but_the_cost(rule: str) -> None:
    """However many are under way, whoever is faster: what was decided, and on what."""
    cancelled = 0
    for seed in range(6):
        runs = [
            solved(MANY[rule], seed=seed, concurrency=concurrency, salt=salt)
            for concurrency, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert all(decided(run) == decided(runs[0]) for run in runs)
        one = adaptive_consistency(12, rule=rule, max_tokens=20, name="draws") | vote()
        alone = solved(one, seed=seed)
        assert alone.candidates == runs[0].candidates
        (told,) = [e for e in runs[0].trace.events if e["event"] == "consistency"]
        behind = [run.usage.policy.decoded - alone.usage.policy.decoded for run in runs]
        assert all(0 <= more <= told["cancelled"] * 20 for more in behind)
        cancelled += max(behind)
    assert cancelled > 0


def test_a_decode_that_is_cancelled_in_the_middle_is_told_and_paid() -> None:
    engine = ScriptedEngine(
        lambda prompt: {"1": 1.0}, delay=lambda path, _: 30.0 if int(path.steps[-1]) > 3 else 0.0
    )
    strategy = adaptive_consistency(9, parallel=3, max_tokens=20) | vote()
    result = asyncio.run(runtime(engine).solve("Which?", strategy, seed=0))
    stopped = [e for e in result.trace.events if e.get("error") == "CancelledError"]
    assert [e["path"][-1] for e in stopped] == [4, 5]
    assert result.usage.policy.decoded == engine.stats().decoded == 4 * 2 + 2 * 2
    assert result.status is Status.COMPLETE
    (told,) = [e for e in result.trace.events if e["event"] == "consistency"]
    assert (told["of"], told["cancelled"]) == (4, 2)


def test_what_the_own_engine_drew_for_the_cancelled_is_paid_too() -> None:
    """One sample is enough where the threshold is 0; two more are under way by then."""
    engine = LocalEngine(tiny(replace(CONFIG, context_length=1024)), pages=200, threads=1)

    async def run() -> Result:
        strategy = adaptive_consistency(6, rule="share", threshold=0.0, parallel=3, max_tokens=40)
        runs = Runtime(engine, equivalence=ExactEquivalence())
        try:
            return await runs.solve("Which?", strategy | vote(), seed=1)
        finally:
            await runs.close()

    result = asyncio.run(run())
    stats, used = engine.stats(), result.usage.total
    assert len(result.candidates) == 1
    assert (stats.decoded, stats.branches) == (used.decoded, 0)
    assert recompute(result.trace.events) == result.numbers


def test_what_was_cancelled_is_not_on_record_and_not_missed(tmp_path: Path) -> None:
    """A replay comes to the same; only what the cancelled had drawn is not in it."""
    file, strategies = tmp_path / "calls", [MANY["beta"], SHAPES["beta"]]

    async def run(engine: Engine) -> list[Result]:
        runs = Runtime(engine, equivalence=ExactEquivalence())
        try:
            return [await runs.solve("Which?", strategy, seed=4) for strategy in strategies]
        finally:
            await runs.close()

    scripted = ScriptedEngine(tells, delay=shuffled(1))
    recorded = asyncio.run(run(RecordingEngine(scripted, file)))
    again = asyncio.run(run(ReplayEngine(file)))
    assert list(map(decided, again)) == list(map(decided, recorded))
    assert again[1].trace == recorded[1].trace


def test_a_lead_that_cannot_be_lost_is_the_majority_of_all() -> None:
    """The same answer as that of all samples, for fewer."""
    cheaper = 0
    for seed in range(60):
        everyone = solved(sample(12, max_tokens=20, name="draws") | vote(), seed=seed)
        enough = solved(MANY["lead"], seed=seed)
        assert enough.answer == everyone.answer
        assert enough.candidates == everyone.candidates[: len(enough.candidates)]
        cheaper += len(enough.candidates) < 12
    assert cheaper > 30


@pytest.mark.parametrize(
    "strategy",
    [
        adaptive_consistency(1, name="draws") | vote(),
        early_stopping(1, most=1, name="draws") | vote(),
        sample(1, name="draws") | universal(),
        sample(1, name="draws") | mbr(),
    ],
    ids=repr,
)
def test_one_sample_is_the_plain_sample(strategy: Expression) -> None:
    plain, one = solved(sample(1, name="draws") | vote()), solved(strategy)
    assert (one.answer, one.confidence, one.candidates, one.usage) == (
        plain.answer,
        plain.confidence,
        plain.candidates,
        plain.usage,
    )


def test_the_judge_of_many_is_paid_as_a_verifier() -> None:
    result = solved(SHAPES["universal"], seed=1)
    assert result.usage.verifier.prompt > 0
    assert result.usage.verifier.decoded == len("Response 1") + 1
    purposes = [e["purpose"] for e in result.trace.events if e["event"] == "call"]
    assert purposes.count("verifier") == 2


def test_without_budget_for_the_judge_the_first_is_taken_and_said() -> None:
    result = solved(SHAPES["universal"], seed=1, budget=Budget(calls=5))
    assert result.status is Status.EXHAUSTED
    assert (result.confidence, result.chosen) == (None, ("sample", 0))
    (told,) = [e for e in result.trace.events if e["event"] == "universal"]
    assert "not asked to the end" in told["failure"]


@pytest.mark.parametrize("seconds", [0.02, 0.5])
def test_at_the_deadline_what_is_there_is_answered(seconds: float) -> None:
    engine = Ticking(guesses)
    result = asyncio.run(
        runtime(engine).solve("Which?", MANY["dirichlet"], seed=2, budget=Budget(seconds=seconds))
    )
    assert result.status is Status.EXHAUSTED
    assert recompute(result.trace.events) == result.numbers
    assert engine.stats().branches == 0


@pytest.mark.parametrize("name", SHAPES)
def test_strategies_are_written_and_read_without_loss(name: str) -> None:
    assert from_yaml(to_yaml(SHAPES[name])) == SHAPES[name]
    names = {name: getattr(ponder, name) for name in ponder.__all__}
    code = compile(repr(SHAPES[name]), "a strategy", "eval")
    assert eval(code, names) == SHAPES[name]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_answer(preset: str) -> None:
    result = solved(PRESETS[preset].expression, seed=3)
    assert result.answer in WEIGHTS
    assert result.status is Status.COMPLETE
