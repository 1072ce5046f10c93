"""Step verifiers on the own engine: what a shadow says, and that a step costs its own tokens and no
more, by the engine's true counters.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import torch
from tiny_llama import tiny

from ponder.orchestrator import Runtime, beam, best
from ponder.runtime import Branch, BranchPath, Finish, Message, ScriptedEngine, Usage
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models.heads import Affine, Head
from ponder.verifiers import (
    MOST_STEPS,
    Candidate,
    ExactEquivalence,
    Question,
    StepVerifier,
    Verdict,
    step_verifier_kind,
    verifier_kind,
)
from ponder.verifiers.process_reward import logistic
from ponder.verifiers.stepwise import split
from ponder.verifiers.wording import STEP

torch.manual_seed(3)
HEADS = {"score": Head(layers=(Affine(weight=torch.randn(2, 48)),), outputs="softmax")}
RAW = {"score": Head(layers=(Affine(weight=50 * torch.ones(1, 48)),))}
MODEL = tiny(ends=False)
STEPS = ("first this\n\n", "then that\n\n", "so it is 7")
QUESTION = Question(text="How many?")
PATH = BranchPath(4, ("steps",))
TURNS = (Message(role="user", content=QUESTION.text),)


@asynccontextmanager
async def opened(
    kind: str, heads: dict[str, Head] = HEADS
) -> AsyncIterator[tuple[LocalEngine, StepVerifier, Branch]]:
    engine = LocalEngine(MODEL, pages=400, threads=1, heads=heads)
    try:
        verifier = step_verifier_kind(kind).build(engine, PATH)
        shadow = await verifier.open(QUESTION)
        yield engine, verifier, shadow
        shadow.close()
        assert engine.stats().branches == 0
    finally:
        await engine.close()


async def judged(verifier: StepVerifier, shadow: Branch, step: str) -> Verdict:
    (verdict,) = await verifier.judge([shadow], [step])
    return verdict


@pytest.mark.parametrize("kind", ["process_reward", "self_evaluation", "math_shepherd"])
def test_a_step_costs_its_own_tokens_and_no_more(kind: str) -> None:
    async def run() -> None:
        async with opened(kind) as (engine, verifier, shadow):
            for step in STEPS:
                before = engine.stats()
                verdict = await judged(verifier, shadow, step)
                after = engine.stats()
                own = engine.count(step)
                extra = step_verifier_kind(kind).extra_tokens
                assert verdict.score is not None
                assert own <= verdict.usage.tokens <= own + extra
                spent = after.prefilled + after.scored - before.prefilled - before.scored
                assert spent == verdict.usage.tokens - verdict.usage.cached
                assert after.recomputed == before.recomputed

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["process_reward", "self_evaluation", "math_shepherd"])
def test_a_fork_says_what_a_fresh_shadow_of_the_same_steps_says(kind: str) -> None:
    async def run() -> None:
        async with opened(kind) as (engine, verifier, shadow):
            await judged(verifier, shadow, STEPS[0])
            one, two = shadow.fork(2)
            elsewhere = await judged(verifier, one, STEPS[2])
            here = await judged(verifier, two, STEPS[1])
            again = step_verifier_kind(kind).build(engine, PATH.child("again"))
            fresh = await again.open(QUESTION)
            await judged(verifier, fresh, STEPS[0])
            twice = await judged(verifier, fresh, STEPS[1])
            assert here.score == pytest.approx(twice.score, abs=1e-4)
            assert here.score != elsewhere.score
            for each in (one, two, fresh):
                each.close()

    asyncio.run(run())


def test_a_head_is_read_at_the_steps_last_token() -> None:
    async def run() -> None:
        async with opened("process_reward") as (engine, verifier, shadow):
            await judged(verifier, shadow, STEPS[0])
            verdict = await judged(verifier, shadow, STEPS[1])
            turns = (Message(role="user", content=QUESTION.text),)
            async with await engine.open(turns, path=PATH.child("plain")) as branch:
                await branch.append(STEPS[0])
                await branch.append(STEPS[1])
                outputs = (await branch.read("score"))[-1]
            assert math.isclose(sum(outputs), 1, abs_tol=1e-5)
            assert verdict.score == pytest.approx(outputs[-1], abs=1e-4)

    asyncio.run(run())


def test_a_head_that_says_no_probability_is_a_stated_failure() -> None:
    async def run() -> None:
        async with opened("process_reward", RAW) as (_, verifier, shadow):
            verdict = await judged(verifier, shadow, STEPS[0])
            assert verdict.score is None
            assert verdict.failure is not None
            assert "in [0, 1]" in verdict.failure

    asyncio.run(run())


def test_a_search_on_the_own_engine_repeats_no_prefix() -> None:
    """Prefilled: the two prompts once, and each judged step once in the shadow."""
    search = beam("process_reward", width=8, expand=4, step_tokens=6, max_tokens=18, depth=3)

    async def run() -> None:
        engine = LocalEngine(MODEL, pages=400, threads=1, heads=HEADS)
        try:
            runtime = Runtime(engine, equivalence=ExactEquivalence())
            result = await runtime.solve(QUESTION, search | best(), seed=1)
            stats = engine.stats()
        finally:
            await engine.close()
        nodes = [e for e in result.trace.events if e["event"] == "node"]
        assert len(nodes) == 8 * 3
        policy, verifier = result.usage.policy, result.usage.verifier
        assert stats.prefilled == policy.prompt + verifier.prompt - policy.cached - verifier.cached
        assert stats.recomputed == 0
        assert stats.branches == 0

    asyncio.run(run())


TEXT = "".join(STEPS)
SOLUTION = Candidate(
    source="sample", index=0, text=TEXT, finish=Finish.EOS, logprobs=None, usage=Usage()
)


@pytest.mark.parametrize(
    ("kind", "heads"), [("outcome_reward", HEADS), ("bradley_terry_reward", RAW)]
)
def test_an_outcome_is_read_at_the_solutions_last_token(kind: str, heads: dict[str, Head]) -> None:
    async def run() -> None:
        engine = LocalEngine(MODEL, pages=400, threads=1, heads=heads)
        try:
            (verdict,) = await verifier_kind(kind).build(engine, PATH).judge(QUESTION, [SOLUTION])
            assert engine.stats().branches == 0
            async with await engine.open(TURNS, path=PATH.child("plain")) as branch:
                await branch.append(TEXT)
                told = (await branch.read("score"))[-1][-1]
        finally:
            await engine.close()
        want = told if heads is HEADS else 1 / (1 + math.exp(-told))
        assert verdict.score == pytest.approx(want, abs=1e-4)
        assert verdict.usage.scored == 1
        assert verdict.usage.tokens <= verifier_kind(kind).tokens(branch.usage.prompt, 0, 1)

    asyncio.run(run())


def test_an_outcome_without_bounds_needs_the_kind_that_maps_it() -> None:
    async def run() -> None:
        engine = LocalEngine(MODEL, pages=400, threads=1, heads=RAW)
        try:
            verifier = verifier_kind("outcome_reward").build(engine, PATH)
            (verdict,) = await verifier.judge(QUESTION, [SOLUTION])
        finally:
            await engine.close()
        assert "'bradley_terry_reward' takes heads without bounds" in (verdict.failure or "")

    asyncio.run(run())


def test_numbers_without_bounds_become_scores() -> None:
    assert [logistic(x) for x in (-1e9, 0.0, 1e9)] == [0.0, 0.5, 1.0]
    assert logistic(2.0) + logistic(-2.0) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_no_score(value: float) -> None:
    engine = ScriptedEngine(heads={"score": lambda text: (value,)})
    verifier = verifier_kind("bradley_terry_reward").build(engine, PATH)
    (verdict,) = asyncio.run(verifier.judge(QUESTION, [SOLUTION]))
    assert f"says {value!r}" in (verdict.failure or "")


def test_a_solution_is_cut_at_its_blank_lines_and_nothing_is_lost() -> None:
    assert split("a\n\nb\n \n\nc\nd") == ["a\n\n", "b\n \n\n", "c\nd"]
    many = "x\n\n" * 200
    assert len(split(many)) == MOST_STEPS
    assert "".join(split(many)) == many
    assert split("") == [""]


@pytest.mark.parametrize("text", ["", "  \n\n "])
def test_what_says_nothing_is_a_failure(text: str) -> None:
    engine = ScriptedEngine(heads={"score": lambda text: (0.5,)})
    for kind in ("outcome_reward", "bradley_terry_reward"):
        blank = replace(SOLUTION, text=text)
        (verdict,) = asyncio.run(verifier_kind(kind).build(engine, PATH).judge(QUESTION, [blank]))
        assert "says nothing" in (verdict.failure or "")


def test_a_rating_in_words_is_read_off_the_last_step() -> None:
    replies = {"one\n\n" + STEP + " 7": 1.0, "one\n\ntwo\n\n" + STEP + " perhaps": 1.0}
    engine = ScriptedEngine(lambda prompt: replies)
    verifier = step_verifier_kind("judge_step").build(engine, PATH)

    async def run() -> None:
        async with await verifier.open(QUESTION) as shadow:
            good = await judged(verifier, shadow, "one\n\n")
            bad = await judged(verifier, shadow, "two\n\n")
            assert shadow.text == "one\n\ntwo\n\n"
        assert good.score == 0.7
        assert bad.failure == "no number from 0 to 10 in the reply ' perhaps'"
        for step, verdict in (("one\n\n", good), ("two\n\n", bad)):
            most = len(step) + step_verifier_kind("judge_step").extra_tokens
            assert len(step) < verdict.usage.tokens <= most

    asyncio.run(run())
    assert engine.stats().branches == 0
