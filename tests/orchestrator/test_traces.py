"""Equal seeds, equal traces, whatever the concurrency; and a trace that accounts for its result."""

from __future__ import annotations

import asyncio
import json
import resource
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from guessing import Ticking, guesses, runtime, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    agreement,
    best,
    best_of,
    best_score,
    from_yaml,
    judge,
    parallel,
    plan,
    read_trace,
    recompute,
    sample,
    vote,
    when,
)
from ponder.orchestrator.recorder import rank
from ponder.runtime import InputError, PonderError, ScriptedEngine

SHAPES: dict[str, Expression] = {
    "vote": sample(6, max_tokens=20) | vote(),
    "best": best_of(5, judge="self_evaluation", max_tokens=20),
    "kept": sample(5, max_tokens=20) | judge("self_evaluation", keep=2) | vote("judge"),
    "parallel": parallel(
        sample(3, max_tokens=20), sample(4, max_tokens=12) | judge("self_evaluation")
    )
    | vote("judge"),
    "two judges": sample(4, max_tokens=20)
    | parallel(judge("likelihood"), judge("self_evaluation"))
    | vote("judge"),
    "when": sample(4, max_tokens=20)
    | when(
        agreement() < 0.7,
        then=parallel(sample(3, max_tokens=20), judge("self_evaluation")) | best(),
        otherwise=vote(),
    ),
    "nested": parallel(
        sample(2, max_tokens=20)
        | judge("likelihood")
        | when(
            best_score() >= 0.5,
            then=judge("self_evaluation", keep=1),
            otherwise=sample(3, max_tokens=20),
        ),
        sample(2, max_tokens=9),
    )
    | vote(),
}


def solved(
    strategy: Expression, seed: int, concurrency: int, salt: int, budget: Budget | None
) -> Result:
    engine = ScriptedEngine(guesses, delay=shuffled(salt))
    result = asyncio.run(
        runtime(engine, concurrency).solve("Which?", strategy, seed=seed, budget=budget)
    )
    assert engine.stats().branches == 0
    return result


@pytest.mark.parametrize("share", [None, 1.0, 0.8, 0.5, 0.2, 0.05], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_seeds_give_equal_traces_at_any_concurrency(shape: str, share: float | None) -> None:
    strategy = SHAPES[shape]
    most = plan(strategy, ScriptedEngine(guesses)).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    for seed in range(3):
        runs = [
            solved(strategy, seed, concurrency, salt, budget)
            for concurrency, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({run.trace.jsonl() for run in runs}) == 1
        for run in runs:
            assert recompute(run.trace.events) == run.numbers
            if budget is not None and budget.tokens is not None:
                assert run.usage.tokens <= budget.tokens


@pytest.mark.parametrize(("shape", "calls"), list(product(SHAPES, [1, 4, 7])))
def test_budgets_of_calls_are_as_deterministic(shape: str, calls: int) -> None:
    runs = [solved(SHAPES[shape], 5, c, c, Budget(calls=calls)) for c in (1, 64)]
    assert runs[0].trace.jsonl() == runs[1].trace.jsonl()
    assert runs[0].calls <= calls
    assert recompute(runs[0].trace.events) == runs[0].numbers


def test_other_seeds_give_other_traces() -> None:
    texts = {
        tuple(a.candidate.text for a in solved(SHAPES["vote"], seed, 64, 0, None).candidates)
        for seed in range(8)
    }
    assert len(texts) > 4


def test_a_seed_that_was_drawn_runs_again() -> None:
    engine = ScriptedEngine(guesses)
    first = asyncio.run(runtime(engine).solve("Which?", SHAPES["vote"]))
    again = asyncio.run(runtime(engine).solve("Which?", SHAPES["vote"], seed=first.seed))
    assert first.trace == again.trace


def test_times_come_from_the_engines_clock_and_can_be_recomputed() -> None:
    result = asyncio.run(runtime(Ticking(guesses)).solve("Which?", SHAPES["best"], seed=1))
    assert result.seconds > 0.1
    assert recompute(result.trace.events) == result.numbers


def test_the_trace_tells_the_run_and_its_votes() -> None:
    strategy = SHAPES["vote"]
    result = solved(strategy, 3, 64, 0, Budget(tokens=10_000))
    head, *events, told = result.trace.events
    assert from_yaml(head["strategy"]) == strategy
    assert (head["seed"], head["engines"]) == (3, {"policy": "scripted"})
    assert head["budget"] == {"tokens": 10_000, "seconds": None, "calls": None}
    (tally,) = [e for e in events if e["event"] == "vote"]
    votes = {g["answer"]: g["votes"] for g in tally["groups"]}
    assert votes[result.answer] == max(votes.values()) == result.confidence * tally["of"]
    assert told["answer"] == result.answer
    assert [c["answer"] for c in told["candidates"]] == [a.answer for a in result.candidates]


def test_traces_are_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    result = asyncio.run(
        runtime(ScriptedEngine(guesses)).solve("Which?", SHAPES["when"], seed=1, trace=path)
    )
    back = read_trace(path)
    assert back.jsonl() == result.trace.jsonl() == path.read_text()
    assert recompute(back.events) == result.numbers
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda raw: raw[:-40], "damaged in line"),
        (lambda raw: raw[: raw.rindex(b"\n", 0, -1) + 1], "cut short"),
        (lambda raw: raw[raw.index(b"\n") + 1 :], "not start with a run"),
        (lambda raw: b"", "not start with a run"),
        (lambda raw: raw.replace(b"{", b"\xff", 3), "cannot be read"),
        (lambda raw: b"[1]\n" + raw, "damaged in line 1: not an event"),
    ],
)
def test_damaged_traces_are_refused(tmp_path: Path, damage: Any, told: str) -> None:
    path = tmp_path / "trace.jsonl"
    solved(SHAPES["vote"], 1, 64, 0, None).trace.write(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=told):
        read_trace(path)


def test_a_full_disk_is_told_with_the_answer_and_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(PonderError, match="no trace could be written") as caught:
            asyncio.run(
                runtime(ScriptedEngine(guesses)).solve(
                    "Which?", SHAPES["vote"], seed=1, trace=tmp_path / "trace.jsonl"
                )
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the answer was" in caught.value.__notes__[0]
    assert not list(tmp_path.iterdir())


def test_a_trace_with_nowhere_to_go_is_refused_before_a_token_is_spent(tmp_path: Path) -> None:
    engine = ScriptedEngine(guesses)
    for path in (tmp_path, tmp_path / "absent" / "trace.jsonl"):
        with pytest.raises(InputError, match="trace path"):
            asyncio.run(runtime(engine).solve("Which?", SHAPES["vote"], trace=path))
    assert engine.stats().prefilled == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.lists(values, max_size=6), st.randoms())
def test_events_of_any_content_have_one_order(items: list[Any], random: Any) -> None:
    mixed = list(items)
    random.shuffle(mixed)
    assert sorted(map(rank, mixed)) == sorted(map(rank, items))
    assert rank(json.loads(json.dumps(items))) == rank(items)


def test_numbers_order_as_numbers() -> None:
    rounds = [{"round": i} for i in range(12)]
    assert sorted(rounds, key=rank) == rounds
