"""Step verifiers on the own engine: what a shadow says, and that a step costs its own tokens and no
more, by the engine's true counters.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import torch
from tiny_llama import tiny

from ponder.orchestrator import Runtime, beam, best
from ponder.runtime import Branch, BranchPath, Message
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models.heads import Affine, Head
from ponder.verifiers import ExactEquivalence, Question, StepVerifier, Verdict, step_verifier_kind

torch.manual_seed(3)
HEADS = {"score": Head(layers=(Affine(weight=torch.randn(2, 48)),), outputs="softmax")}
RAW = {"score": Head(layers=(Affine(weight=50 * torch.ones(1, 48)),))}
MODEL = tiny(ends=False)
STEPS = ("first this\n\n", "then that\n\n", "so it is 7")
QUESTION = Question(text="How many?")
PATH = BranchPath(4, ("steps",))


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
