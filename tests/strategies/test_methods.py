"""Each method alone: results, ties, failures, and its exact distribution on a toy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from ponder.runtime import BranchPath, BudgetExceeded, InputError, ScriptedEngine
from ponder.runtime.scripted_branch import ScriptedBranch
from ponder.strategies import Answer, Best, Judge, Load, Sample, Vote
from ponder.strategies.concurrency import as_ready, mapped
from ponder.verifiers import Candidate, Question

Make = Callable[..., Any]  # fixtures that make a context or a candidate, by keyword


def coin(prompt: str) -> dict[str, float]:
    return {"The answer is 1.": 0.7, "The answer is 2.": 0.3}


def test_samples_are_numbered_and_follow_their_own_paths(alone: Make) -> None:
    ctx = alone(policy=ScriptedEngine(coin, delay=lambda path, _: 0.05 * (3 - int(path.steps[-1]))))
    found = asyncio.run(ctx.run(Sample(n=4)))
    assert [c.index for c in found] == [3, 2, 1, 0], "streams in the order they finish"
    again = asyncio.run(alone(policy=ScriptedEngine(coin)).run(Sample(n=4)))
    assert sorted((c.index, c.text) for c in found) == sorted((c.index, c.text) for c in again)
    assert ctx.policy.stats().branches == 0


def test_one_sample_is_the_first_of_many(alone: Make) -> None:
    one = asyncio.run(alone(policy=ScriptedEngine(coin)).run(Sample(n=1)))
    many = asyncio.run(alone(policy=ScriptedEngine(coin)).run(Sample(n=5)))
    assert one[0].text == next(c.text for c in many if c.index == 0)


def test_leaving_early_closes_every_branch(alone: Make) -> None:
    async def first() -> int:
        ctx = alone(policy=ScriptedEngine(coin, delay=lambda path, _: 0.01 * int(path.steps[-1])))

        async def question() -> AsyncIterator[Question]:
            yield ctx.question

        stream = Sample(n=8).run(ctx, question())
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]  # a generator, by the protocol an iterator
        branches: int = ctx.policy.stats().branches
        return branches

    assert asyncio.run(first()) == 0


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": -3}, "n is -3"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"stop": ("",)}, "stop is"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        Sample(**settings)


def vote(
    alone: Make, candidates: Sequence[Candidate], weights: str = "count"
) -> tuple[Answer, dict[str, Any]]:
    ctx = alone()
    (answer,) = asyncio.run(ctx.run(Vote(weights=weights), candidates))
    return answer, ctx.events[-1]


def test_vote_groups_by_meaning_and_keeps_the_denominator(alone: Make, attempt: Make) -> None:
    texts = [
        "The answer is 1/2.",
        "\\boxed{0.5}",
        "The answer is 3.",
        "I do not know",
        "\\boxed{\\frac12}",
    ]
    answer, event = vote(alone, [attempt(i, text) for i, text in enumerate(texts)])
    assert answer == Answer(text="1/2", confidence=3 / 5, chosen=("sample", 0))
    assert (event["of"], event["unanswered"]) == (5, 1)


def test_vote_ties_go_to_scores_then_to_the_earliest(alone: Make, attempt: Make) -> None:
    tied = [attempt(i, f"\\boxed{{{a}}}") for i, a in enumerate([5, 7, 7, 5])]
    assert vote(alone, tied)[0].text == "5"
    scored = [
        attempt(i, f"\\boxed{{{a}}}", score=s) for i, (a, s) in enumerate([(5, 0.1), (7, 0.9)])
    ]
    assert vote(alone, scored)[0].text == "7"


@pytest.mark.parametrize("seed", range(20))
def test_vote_and_best_ignore_the_order_of_arrival(alone: Make, attempt: Make, seed: int) -> None:
    answers, scores = [3, 4, 3, 4, 9, 3], [0.5, 0.9, 0.2, 0.8, 0.9, 0.1]
    made = [
        attempt(i, f"\\boxed{{{a}}}", score=s)
        for i, (a, s) in enumerate(zip(answers, scores, strict=True))
    ]
    shuffled = sorted(made, key=lambda c: BranchPath(seed).uniform(c.index))
    for strategy in (Vote(), Vote(weights="judge"), Best()):
        assert asyncio.run(alone().run(strategy, shuffled)) == asyncio.run(
            alone().run(strategy, made)
        )


def test_weighted_vote_with_equal_scores_is_the_majority(alone: Make, attempt: Make) -> None:
    made = [attempt(i, f"\\boxed{{{a}}}", score=0.4) for i, a in enumerate([1, 2, 2, 3, 2, 1])]
    weighted, plain = vote(alone, made, "judge")[0], vote(alone, made)[0]
    assert weighted.text == plain.text
    assert weighted.confidence == pytest.approx(plain.confidence)


def test_failed_judgements_weigh_nothing_and_are_counted(alone: Make, attempt: Make) -> None:
    made = [attempt(0, "\\boxed{1}", failure="broken"), attempt(1, "\\boxed{1}", failure="broken")]
    answer, event = vote(alone, [*made, attempt(2, "\\boxed{2}", score=0.3)], "judge")
    assert (answer.text, answer.confidence, event["unjudged"]) == ("2", 1.0, 2)


def test_nobody_answered(alone: Make, attempt: Make) -> None:
    made = [attempt(0, "hm", score=0.1), attempt(1, "well", score=0.8)]
    for strategy in (Vote(), Best()):
        assert asyncio.run(alone().run(strategy, made)) == [
            Answer(text=None, confidence=None, chosen=("sample", 1))
        ]
    assert asyncio.run(alone().run(Vote(), [])) == [Answer(text=None, confidence=None, chosen=None)]
    assert asyncio.run(alone().run(Best(), [])) == [Answer(text=None, confidence=None, chosen=None)]


def test_best_prefers_an_answer_to_a_score(alone: Make, attempt: Make) -> None:
    made = [attempt(0, "so we add and", score=0.99), attempt(1, "\\boxed{8}", score=0.2)]
    (answer,) = asyncio.run(alone().run(Best(), made))
    assert answer == Answer(text="8", confidence=0.2, chosen=("sample", 1))


def test_vote_over_samples_has_the_closed_form(alone: Make) -> None:
    """Majority of 3 with p = 0.7: p^3 + 3 p^2 (1 - p) = 0.784; 1,000 seeds, tolerance 4 standard
    errors.
    """
    engine = ScriptedEngine(coin)

    async def wins() -> int:
        count = 0
        for seed in range(1000):
            ctx = alone(seed=seed, policy=engine)
            (answer,) = await ctx.run(Vote(), await ctx.run(Sample(n=3, temperature=1.0)))
            count += answer.text == "1"
        return count

    assert asyncio.run(wins()) / 1000 == pytest.approx(
        0.784, abs=4 * math.sqrt(0.784 * 0.216 / 1000)
    )


def test_likelihood_is_the_geometric_mean(alone: Make, attempt: Make) -> None:
    made = [attempt(0, "a", logprobs=(-1.0, -3.0)), attempt(1, "b", logprobs=None)]
    first, second = sorted(
        asyncio.run(alone().run(Judge(verifier="likelihood"), made)), key=lambda c: c.index
    )
    assert first.verdict.score == pytest.approx(math.exp(-2))
    assert second.verdict.failure


def test_self_evaluation_reads_yes_against_no(alone: Make, attempt: Make) -> None:
    def script(prompt: str) -> dict[str, float]:
        return {"Yes": 0.6, "No": 0.2, "Maybe": 0.2}

    ctx = alone(policy=ScriptedEngine(script))
    (judged,) = asyncio.run(ctx.run(Judge(verifier="self_evaluation"), [attempt(0, "\\boxed{1}")]))
    assert judged.verdict.score == pytest.approx(0.75)
    silent = alone(policy=ScriptedEngine(lambda _: {"Maybe": 1.0}))
    (unjudged,) = asyncio.run(
        silent.run(Judge(verifier="self_evaluation"), [attempt(0, "\\boxed{1}")])
    )
    assert unjudged.verdict.score is None
    assert "neither" in unjudged.verdict.failure


def test_keep_passes_on_the_best_in_order(alone: Make, attempt: Make) -> None:
    made = [attempt(i, "x", logprobs=(-float(p),)) for i, p in enumerate([3, 1, 2, 5])]
    ctx = alone()
    kept = asyncio.run(ctx.run(Judge(verifier="likelihood", keep=2), made))
    assert [c.index for c in kept] == [1, 2]
    assert ctx.events[-1] == {"event": "kept", "of": 4, "kept": [["sample", 1], ["sample", 2]]}


def test_unknown_verifier_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'likelihood'"):
        Judge(verifier="likelyhood")


class Broke(ScriptedEngine):
    """An engine for whose calls nothing is left of the budget."""

    async def open(self, *args: object, **settings: object) -> ScriptedBranch:
        raise BudgetExceeded("nothing left")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_judge_without_budget_fails_openly(alone: Make, attempt: Make, streaming: bool) -> None:
    ctx = alone(streaming=streaming, policy=Broke())
    judged = asyncio.run(
        ctx.run(Judge(verifier="self_evaluation"), [attempt(0, "x"), attempt(1, "y")])
    )
    assert [c.verdict.failure for c in judged] == ["not judged: nothing left"] * 2


def test_bounds_add_up() -> None:
    load = Load(prompt_tokens=10, candidates=4, candidate_tokens=7)
    assert Sample(n=4, max_tokens=7).bound(load).tokens == 10 + 4 * 7
    assert Judge(verifier="likelihood", keep=3).bound(load).candidates == 3
    assert Judge(verifier="self_evaluation").bound(load).calls == 4


def test_streams_stop_their_work_when_left_or_broken() -> None:
    stopped: list[int] = []

    async def job(i: int) -> int:
        try:
            await asyncio.sleep(0 if i == 0 else 10)
        except asyncio.CancelledError:
            stopped.append(i)
            raise
        if i == 0:
            raise RuntimeError("broken")
        return i

    async def use() -> None:
        async for _ in as_ready([job(i) for i in range(3)]):
            pass

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(use())
    assert sorted(stopped) == [1, 2]


def test_mapped_starts_work_before_the_input_ends() -> None:
    seen: list[str] = []

    async def use() -> None:
        released = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            yield 1
            await released.wait()
            yield 2

        async def work(item: int) -> int:
            seen.append(f"work {item}")
            released.set()
            return item * 10

        async for out in mapped(source(), work):
            seen.append(f"out {out}")

    asyncio.run(use())
    assert sorted(seen) == ["out 10", "out 20", "work 1", "work 2"]
    assert seen.index("work 1") < seen.index("work 2")
