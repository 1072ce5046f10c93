"""Running a strategy: budgets, streaming, failures, cancellation, and chances that add up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pytest
from guessing import WEIGHTS, Crowded, Failing, Ticking, guesses, runtime, shuffled

from ponder.orchestrator import (
    Budget,
    Expression,
    Runtime,
    Status,
    agreement,
    best_of,
    judge,
    parallel,
    recompute,
    sample,
    solve,
    step,
    vote,
    when,
)
from ponder.runtime import (
    Branch,
    BranchPath,
    BudgetExceeded,
    CapabilityError,
    ContextOverflow,
    Delta,
    Finish,
    InputError,
    ModelError,
    Sampling,
    ScriptedEngine,
)
from ponder.strategies import Answer, Bound, Context, Item, Load, Port, ask
from ponder.verifiers import ExactEquivalence, Question

PROMPT = ScriptedEngine().count(ask(Question(text="Which?")))
REPLY = len("The answer is 1.") + 1


def answered(strategy: Expression, **settings: Any) -> Any:
    engine = settings.pop("engine", None) or ScriptedEngine(guesses)
    result = solve("Which?", strategy, engine=engine, seed=settings.pop("seed", 0), **settings)
    assert recompute(result.trace.events) == result.numbers
    assert engine.stats().branches == 0
    return result


def test_usage_is_what_the_engine_counted() -> None:
    engine = ScriptedEngine(guesses)
    result = answered(best_of(5, judge="self_evaluation"), engine=engine)
    stats, used = engine.stats(), result.usage
    assert (stats.prefilled, stats.decoded, stats.scored) == (
        used.total.prompt,
        used.total.decoded,
        used.total.scored,
    )
    assert used.policy.decoded == 5 * REPLY
    assert used.policy.scored == used.verifier.decoded == 0
    texts = {attempt.candidate.text for attempt in result.candidates}
    assert used.verifier.scored == len(texts) * len("YesNo")
    assert result.calls == 5 + len(texts)
    assert result.status is Status.COMPLETE


def test_the_budget_is_spent_in_order_and_the_best_so_far_is_answered() -> None:
    result = answered(
        sample(8, max_tokens=50) | vote(), budget=Budget(tokens=PROMPT + 3 * REPLY + 5)
    )
    finishes = [a.candidate.finish for a in result.candidates]
    assert finishes == [Finish.EOS, Finish.EOS, Finish.EOS, Finish.BUDGET]
    assert [a.candidate.index for a in result.candidates] == [0, 1, 2, 3]
    assert result.usage.tokens == PROMPT + 3 * REPLY + 5
    assert result.status is Status.EXHAUSTED
    assert result.answer in WEIGHTS


def test_a_budget_that_suffices_changes_nothing() -> None:
    free = answered(best_of(4, judge="self_evaluation"))
    exact = answered(
        best_of(4, judge="self_evaluation"), budget=Budget(tokens=free.usage.tokens, calls=8)
    )
    assert exact.numbers == free.numbers


def test_with_nothing_to_spend_there_is_no_answer_and_the_status_says_so() -> None:
    result = answered(sample(4) | vote(), budget=Budget(tokens=1))
    assert (result.answer, result.confidence, result.candidates) == (None, None, ())
    assert result.status is Status.EXHAUSTED
    assert result.usage.tokens == 0


def test_a_judge_without_budget_passes_candidates_on() -> None:
    result = answered(
        best_of(4, judge="self_evaluation"), budget=Budget(tokens=PROMPT + 4 * REPLY + 10)
    )
    assert result.status is Status.EXHAUSTED
    assert len(result.candidates) == 4
    assert result.answer in WEIGHTS


def test_calls_are_a_budget_too() -> None:
    result = answered(sample(8) | vote(), budget=Budget(calls=3))
    assert (result.calls, len(result.candidates)) == (3, 3)
    assert result.status is Status.EXHAUSTED


def test_at_the_deadline_what_is_there_is_answered() -> None:
    engine = Ticking(guesses)
    result = answered(sample(50, max_tokens=100) | vote(), budget=Budget(seconds=4), engine=engine)
    assert result.status is Status.EXHAUSTED
    assert 0 < len(result.candidates) < 50
    assert result.answer in WEIGHTS


def test_a_call_without_a_deadline_of_its_own_is_cut_at_the_budgets() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Stuck(Talk):
        async def answer(self, ctx: Context) -> str:
            async with await ctx.engine().open("?", path=ctx.path) as branch:
                await branch.score(["x"])
            return "never"

    engine = ScriptedEngine(guesses, delay=lambda path, _: 30.0)
    result = answered(step(Stuck()), budget=Budget(seconds=0.05), engine=engine)
    assert (result.answer, result.status) == (None, Status.EXHAUSTED)


def test_a_candidate_is_judged_while_its_siblings_decode() -> None:
    """Sample 1 goes on only once sample 0 was judged: without streaming this would never end."""
    judged = asyncio.Event()

    class Waiting(ScriptedEngine):
        async def pause(self, path: BranchPath, tokens: int) -> None:
            if path.steps[-1] == 1:
                await asyncio.wait_for(judged.wait(), timeout=20)

    def watch(event: Mapping[str, Any]) -> None:
        if event["event"] == "verdict":
            judged.set()

    result = asyncio.run(
        runtime(Waiting(guesses)).solve(
            "Which?",
            parallel(sample(2) | judge("likelihood"), sample(1)) | vote("judge"),
            seed=0,
            on_event=watch,
        )
    )
    assert len(result.candidates) == 3


@pytest.mark.parametrize("seed", range(4))
def test_when_goes_the_way_the_recorded_value_says(seed: int) -> None:
    strategy = sample(5) | when(
        agreement() >= 0.6, then=vote(name="enough"), otherwise=sample(9) | vote(name="more")
    )
    result = answered(strategy, seed=seed)
    (decided,) = [e for e in result.trace.events if e["event"] == "when"]
    first = [a.answer for a in result.candidates if a.candidate.source == "sample"]
    share = max(map(first.count, first)) / 5
    assert (decided["value"], decided["held"], decided["of"]) == (share, share >= 0.6, 5)
    (end,) = [e["node"] for e in result.trace.events if e["event"] == "answer"]
    assert end == ("enough" if share >= 0.6 else "more")
    assert len(result.candidates) == (5 if share >= 0.6 else 14)


def test_a_candidate_judged_on_two_ways_stays_one_candidate() -> None:
    strategy = sample(4) | parallel(judge("likelihood"), judge("self_evaluation")) | vote()
    result = answered(strategy)
    (tally,) = [e for e in result.trace.events if e["event"] == "vote"]
    assert tally["of"] == len(result.candidates) == 4
    scores = {a.answer: a.candidate.verdict.score for a in result.candidates}
    assert all(s == pytest.approx(0.9 if a == "1" else 0.2) for a, s in scores.items())


def test_a_failing_engine_reaches_the_caller_and_closes_every_branch() -> None:
    engine = Failing(guesses)
    with pytest.raises(ModelError, match="the machine is gone"):
        asyncio.run(runtime(engine).solve("Which?", best_of(6), seed=0))
    assert engine.stats().branches == 0


def test_failures_under_a_budget_reach_the_caller_too() -> None:
    engine = Failing(guesses)
    with pytest.raises(ModelError, match="the machine is gone"):
        asyncio.run(runtime(engine).solve("Which?", best_of(6), budget=Budget(calls=5), seed=0))
    assert engine.stats().branches == 0


@pytest.mark.parametrize("budget", [None, Budget(tokens=900)])
def test_cancelling_closes_every_branch(budget: Budget | None) -> None:
    async def run(engine: ScriptedEngine) -> None:
        strategy = parallel(sample(4), sample(4) | judge("self_evaluation")) | vote()
        task = asyncio.create_task(runtime(engine, 3).solve("Which?", strategy, budget=budget))
        while engine.stats().branches < 4:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.stats().branches == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run(ScriptedEngine(guesses, delay=lambda path, _: 30.0)))


def test_runs_share_one_limit_and_do_not_disturb_each_other() -> None:
    engine, strategy = Crowded(guesses), best_of(4, judge="self_evaluation")

    async def run() -> None:
        shared = runtime(engine, concurrency=3)
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(shared.solve("Which?", strategy, seed=s)) for s in range(5)]
        for seed, job in enumerate(jobs):
            alone = await runtime(ScriptedEngine(guesses)).solve("Which?", strategy, seed=seed)
            assert job.result() == alone

    asyncio.run(run())
    assert engine.most == 3


def test_the_synchronous_door_works_inside_a_running_loop() -> None:
    async def inside() -> str | None:
        return answered(sample(3) | vote()).answer  # type: ignore[no-any-return]  # of a helper

    assert asyncio.run(inside()) == answered(sample(3) | vote()).answer


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: solve("", sample() | vote(), engine=e),
        lambda e: solve("  \n", sample() | vote(), engine=e),
        lambda e: solve("Which?", sample(), engine=e),
        lambda e: solve("Which?", sample(engine="judge") | vote(), engine=e),
        lambda e: solve("Which?", sample() | vote(), engine={}),
        lambda e: solve("Which?", sample() | vote(), engine=e, concurrency=0),
    ],
)
def test_bad_input_costs_nothing(wrong: Any) -> None:
    engine = ScriptedEngine(guesses)
    with pytest.raises(InputError):
        wrong(engine)
    assert engine.stats().prefilled == 0


def test_a_question_longer_than_the_context_is_the_users_to_mend() -> None:
    engine = ScriptedEngine(guesses, context_length=1000)
    with pytest.raises(ContextOverflow, match="shorten it"):
        solve("x" * 1_000_000, sample(4) | vote(), engine=engine)


def test_nobody_can_tell_a_node_by_its_neighbours_draws() -> None:
    """A node's draws depend on its name and the seed, not on what runs beside it."""
    alone = answered(sample(4, name="mine") | vote()).candidates
    beside = answered(parallel(sample(9), sample(4, name="mine")) | vote()).candidates
    assert alone == tuple(a for a in beside if a.candidate.source == "mine")


def boxed(prompt: str) -> Mapping[str, float]:
    return {f"\\boxed{{{answer}}}": weight for answer, weight in WEIGHTS.items()}


def test_votes_follow_their_exact_distribution() -> None:
    """All 3^5 outcomes of five draws, enumerated; 600 seeds. The tolerance is 4 standard errors
    of the widest share, 4 * sqrt(1 / 4 / 600) = 0.082.
    """
    exact = dict.fromkeys(WEIGHTS, 0.0)
    for drawn in product(WEIGHTS, repeat=5):
        winner = max(drawn, key=lambda a: (drawn.count(a), -drawn.index(a)))
        exact[winner] += math.prod(WEIGHTS[a] for a in drawn)
    strategy, seeds = sample(5, temperature=1.0) | vote(), 600

    async def run() -> list[str | None]:
        shared = runtime(
            ScriptedEngine(lambda prompt: {f"\\boxed{{{a}}}": w for a, w in WEIGHTS.items()})
        )
        return [(await shared.solve("Which?", strategy, seed=s)).answer for s in range(seeds)]

    answers = asyncio.run(run())
    for answer, share in exact.items():
        assert answers.count(answer) / seeds == pytest.approx(share, abs=0.082)


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A method of the user's own, with every kind of call on one branch; calls a model while it
    reads another's stream.
    """

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "a test"

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for _ in inputs:
            text = await self.answer(ctx)
            yield Answer(text=text, confidence=None, chosen=None)

    async def answer(self, ctx: Context) -> str:
        engine = ctx.engine()
        async with await engine.open("?", path=ctx.path) as branch:
            (other,) = branch.fork(1)
            deltas: list[Delta] = []
            async for delta in branch.stream(Sampling(max_tokens=9)):
                deltas.append(delta)
                if not other.text:
                    await other.extend(Sampling(max_tokens=4))
            said = deltas[-1].segment
            branch.rewind(len(branch.tokens) - 2)
            await branch.append("is")
            (scored,) = await branch.score([" 1"])
            logits = await branch.logits()
            await edited(branch)
            ctx.record("talked", total=scored.total, likely=max(logits) == logits[ord(" ")])
            return f"{said.text if said else ''}|{other.text}"

    def bound(self, load: Load) -> Bound:
        return Bound(calls=4, tokens=100)

    def needs(self) -> dict[str, frozenset[str]]:
        return {"policy": frozenset({"logits"})}


async def edited(branch: Branch) -> None:
    """Splices and joins, which leave the branch as it was."""
    before = branch.tokens
    first, second = branch.fork(2)
    await first.append("!!")
    assert list(first.tail) == [ord("!")] * 2
    await branch.join([first])
    await branch.splice(len(before), len(before) + 2)
    assert branch.tokens == before
    branch.pin()
    branch.unpin()
    with pytest.raises(CapabilityError, match="live views"):
        first.share([second])
    with pytest.raises(InputError, match="of its own run"):
        await branch.join([await ScriptedEngine().open("?", path=BranchPath(1))])


def script(prompt: str) -> Mapping[str, float]:
    return {"the is 1": 1.0, "the i 2": 1e-9, "theis 1": 1e-9}


@pytest.mark.parametrize("concurrency", [1, 64])
def test_every_kind_of_call_is_metered_and_none_waits_for_itself(concurrency: int) -> None:
    engine = ScriptedEngine(script)
    result = answered(step(Talk()), engine=engine, concurrency=concurrency)
    assert result.answer == "the is 1|the "
    kinds = [e["kind"] for e in result.trace.events if e["event"] == "call"]
    edits = ["append", "join", "splice"]
    assert sorted(kinds) == sorted(
        [*edits, "append", "extend", "extend", "logits", "open", "score"]
    )
    stats = engine.stats()
    assert result.usage.tokens == stats.prefilled + stats.decoded + stats.scored
    assert result.calls == 4


def test_streams_obey_the_limit_too() -> None:
    engine = Crowded(script)

    async def run() -> None:
        shared = runtime(engine, concurrency=2)
        async with asyncio.TaskGroup() as tasks:
            for seed in range(5):
                tasks.create_task(shared.solve("Which?", step(Talk()), seed=seed))

    asyncio.run(run())
    assert engine.most == 2


def test_a_stream_is_cut_by_the_budget_like_a_decode() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Stream(Talk):
        async def answer(self, ctx: Context) -> str:
            async with await ctx.engine().open("?", path=ctx.path) as branch:
                async for delta in branch.stream(Sampling(max_tokens=9)):
                    if delta.segment:
                        return f"{delta.segment.text} {delta.segment.finish.value}"
            return "nothing"

    result = answered(step(Stream()), engine=ScriptedEngine(script), budget=Budget(tokens=4))
    assert (result.answer, result.status) == ("the budget", Status.EXHAUSTED)


def test_a_method_that_lets_the_budget_error_through_ends_and_the_run_goes_on() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Quits(Talk):
        takes: ClassVar[Port] = Port.CANDIDATES
        gives: ClassVar[Port] = Port.CANDIDATES
        source: ClassVar[str] = "a test"

        async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
            yield await anext(inputs)
            raise ExceptionGroup("calls", [BudgetExceeded("spent"), BudgetExceeded("spent")])

    engine = ScriptedEngine(guesses, delay=shuffled(1))
    result = answered(sample(5) | step(Quits()) | vote(), engine=engine)
    assert (len(result.candidates), result.status) == (5, Status.EXHAUSTED)
    (tally,) = [e for e in result.trace.events if e["event"] == "vote"]
    assert tally["of"] == 5


def test_roles_spend_from_one_budget_and_are_told_apart() -> None:
    engines = {"policy": ScriptedEngine(guesses), "critic": ScriptedEngine(guesses, name="other")}
    strategy = sample(3) | judge("self_evaluation", engine="critic") | vote("judge")
    runs = Runtime(engines, equivalence=ExactEquivalence())
    result = asyncio.run(runs.solve("Which?", strategy, seed=1, budget=Budget(tokens=100_000)))
    texts = {attempt.candidate.text for attempt in result.candidates}
    scored = len(texts) * len("YesNo")
    assert engines["critic"].stats().scored == result.usage.verifier.scored == scored
    assert engines["policy"].stats().scored == 0
    roles = {(e["role"], e["purpose"]) for e in result.trace.events if e["event"] == "call"}
    assert roles == {("policy", "policy"), ("critic", "verifier")}
