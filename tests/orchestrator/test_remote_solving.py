"""Strategies on an engine that keeps text and not KV, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from fault_server import Manner, Server, serving

from ponder.orchestrator import (
    Budget,
    Runtime,
    Status,
    best,
    judge,
    load_strategy,
    plan,
    recompute,
    sample,
    solve,
    vote,
)
from ponder.orchestrator.expression import Step
from ponder.runtime import CapabilityError, Engine, ModelError, Sampling, open_engine
from ponder.strategies import Answer, Bound, Context, Item, Load, Port, ask
from ponder.verifiers import ExactEquivalence

QUESTION = "What is 4 plus 5?"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSteps:
    """Decodes a reply in two calls, as step strategies do."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "a test"

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for _ in inputs:
            pass
        async with await ctx.engine().open(ask(ctx.question), path=ctx.path) as branch:
            await branch.extend(Sampling(max_tokens=3))
            await branch.extend(Sampling(max_tokens=100))
            yield Answer(text=branch.text, confidence=None, chosen=None)

    def bound(self, load: Load) -> Bound:
        return Bound(calls=2, tokens=load.prompt_tokens + 103, candidate_tokens=103)

    def needs(self) -> dict[str, frozenset[str]]:
        return {"policy": frozenset({"prefix_continuation"})}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = {"all": Manner(), "none": Manner(prefix=None, logprobs=False), "dead": Manner()}
    with serving(models) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PONDER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield running


def opened(server: Server, model: str, *, allow_fallback: bool = False) -> Engine:
    return open_engine(f"openai:{model}", base_url=server.url, allow_fallback=allow_fallback)


def test_the_same_seed_gives_the_same_run(server: Server) -> None:
    engine = opened(server, "all")
    runs = [solve(QUESTION, sample(8) | vote(), engine=engine, seed=4) for _ in range(2)]
    assert runs[0].answer == runs[1].answer
    texts = [[e.get("text") for e in run.trace.events] for run in runs]
    assert texts[0] == texts[1]
    again = recompute(runs[0].trace.events)
    assert again.usage == runs[0].usage
    assert again.answer == runs[0].answer


@pytest.mark.parametrize("preset", ["self_consistency", "best_of_n"])
def test_presets_run_unchanged(server: Server, preset: str) -> None:
    result = solve(QUESTION, load_strategy(preset), engine=opened(server, "all"), seed=1)
    assert result.answer == "9"
    assert result.status is Status.COMPLETE


def test_judges_that_score_run_too(server: Server) -> None:
    strategy = sample(3) | judge("self_evaluation") | best()
    result = solve(QUESTION, strategy, engine=opened(server, "all"), seed=1)
    assert result.usage.verifier.scored > 0


@pytest.mark.parametrize(
    "kind", ["judge_pointwise", "judge_rationales", "judge_pairwise", "judge_listwise"]
)
def test_judges_in_words_run_too_and_fail_in_words(server: Server, kind: str) -> None:
    """The script only does sums, so nothing can be read; rationales of a text share a request."""
    engine = opened(server, "all")
    server.requests.clear()
    result = solve(QUESTION, sample(3) | judge(kind) | best(), engine=engine, seed=1)
    verdicts = [e for e in result.trace.events if e["event"] == "verdict"]
    assert [e["score"] for e in verdicts] == [None] * 3
    assert all("in two replies" in e["failure"] for e in verdicts)
    assert (result.answer, result.status) == ("9", Status.UNJUDGED)
    shared = {body.get("n") for body in server.requests[1:]}
    assert shared == ({4} if kind == "judge_rationales" else {None})


def test_what_an_endpoint_lacks_is_refused_before_a_request(server: Server) -> None:
    engine = opened(server, "none")
    server.requests.clear()
    for strategy, lack in ((Step(strategy=TwoSteps()), "prefix_continuation"),
                           (sample(2) | judge("likelihood") | best(), "logprobs")):  # fmt: skip
        with pytest.raises(CapabilityError, match=lack):
            plan(strategy, engine)
        with pytest.raises(CapabilityError, match=lack):
            solve(QUESTION, strategy, engine=engine)
    with pytest.raises(CapabilityError, match=r"\(--allow-fallback\)"):
        plan(Step(strategy=TwoSteps()), engine)
    assert server.requests == []


def test_a_restated_prefix_is_told_in_the_plan(server: Server) -> None:
    strategy = Step(strategy=TwoSteps())
    assert plan(strategy, opened(server, "all")).notes == ()
    helped = opened(server, "none", allow_fallback=True)
    [note] = plan(strategy, helped).notes
    assert "openai:none@127" in note
    assert "user turn" in note
    assert solve(QUESTION, strategy, engine=helped, seed=1).answer


def test_budgets_count_what_is_sent_again(server: Server) -> None:
    engine = opened(server, "all")
    most = plan(Step(strategy=TwoSteps()), engine).total.tokens
    assert most > 2 * 200 + 103, "the prompt goes with each of two calls"
    result = solve(QUESTION, sample(8) | vote(), engine=engine, seed=1, budget=Budget(tokens=60))
    assert result.status is Status.EXHAUSTED
    whole = solve(QUESTION, sample(8) | vote(), engine=engine, seed=1)
    sent = sum(len(f"user: {m['content']}\nassistant: ")
               for m in server.requests[-1]["messages"])  # fmt: skip
    assert whole.usage.policy.prompt == sent, "as the endpoint counts, once for eight"


def test_a_run_on_a_dying_endpoint_ends_with_its_error(server: Server) -> None:
    async def run() -> None:
        engine = opened(server, "dead")
        runtime = Runtime(engine, equivalence=ExactEquivalence())
        server.models["dead"] = Manner(finish="odd")
        with pytest.raises(ModelError, match="'odd'"):
            await runtime.solve(QUESTION, sample(4) | vote(), seed=1)
        assert engine.stats().branches == 0

    asyncio.run(run())


def test_a_budget_of_seconds_cuts_and_answers(server: Server, tmp_path: Path) -> None:
    engine = opened(server, "all")
    server.models["all"] = Manner(fault="trickle")
    try:
        result = solve(
            QUESTION, sample(4) | vote(), engine=engine, seed=1, budget=Budget(seconds=0.3)
        )
    finally:
        server.models["all"] = Manner()
    assert result.status is Status.EXHAUSTED
    assert engine.stats().branches == 0
