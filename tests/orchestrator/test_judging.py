"""Judges in a strategy: each text judged once, costs within the plan, equal traces whatever
finished first, and a verifier's engine that fails while the run goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from guessing import Dying, guesses, shuffled
from opinions import wise

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Runtime,
    Status,
    best,
    from_yaml,
    judge,
    plan,
    recompute,
    result_line,
    sample,
    to_yaml,
    universal,
    vote,
)
from ponder.runtime import BranchPath, CapabilityError, InputError, ModelError, ScriptedEngine
from ponder.verifiers import STEP_VERIFIERS, VERIFIERS, ExactEquivalence
from ponder.verifiers.label_reward import SELF_EVALUATION
from ponder.verifiers.restart import RESTART
from ponder.verifiers.wording import STEP

Delay = Callable[[BranchPath, int], float] | None


SAID = ("Let me see.\n\n", "The answer is 1.")
REPLIES = {"".join(SAID): 0.3, "The answer is 2.": 0.3, "The answer is 2. \n": 0.2}
REPLIES["The answer is 3."] = 0.2


def rated() -> Mapping[str, float]:
    """What a shadow goes on with, behind each beginning of a reply, its tags and its probe."""
    found: dict[str, float] = {}
    for steps in ((SAID[0],), SAID, ("The answer is 2.",), ("The answer is 3.",)):
        plainly = "".join(steps)
        tagged = "".join(f"{step} ки\n" for step in steps)
        found |= {plainly + STEP + f" {len(plainly) % 10}": 1.0}
        found |= {tagged + "+": 3.0, tagged + "-": 1.0}
        probes = (SELF_EVALUATION.probe, RESTART.probe)
        found |= {plainly + p + word: 1.0 for p in probes for word in ("Yes", "No")}
    return found


def opinion(prompt: str) -> Mapping[str, float]:
    """Answers 1 to 3, in one line or two steps; as a judge, prefers the larger."""
    if prompt == "user: Which?\nassistant: ":
        return rated()
    if "olution" not in prompt:
        return REPLIES
    return guesses(prompt) if "Is the final answer" in prompt else wise(prompt)


def length(text: str) -> tuple[float, ...]:
    """A reward of whatever was said so far."""
    said = text.rsplit("assistant: ", 1)[-1]
    return (min(1.0, len(said) / 100),)


def judging(delay: Delay = None) -> ScriptedEngine:
    return ScriptedEngine(opinion, delay=delay, heads={"score": length})


JUDGED = {name: judge(name) for name in VERIFIERS}
FREE = {name for name, kind in VERIFIERS.items() if not kind.asks}
JUDGED |= {
    f"{name} by {how}": judge(name, aggregate=how)
    for name, how in (
        ("process_reward", "min"),
        ("process_reward", "model"),
        ("judge_step", "mean"),
        ("math_shepherd", "prod"),
        ("self_evaluation", "last"),
    )
}
JUDGED["two of pairwise"] = judge("judge_pairwise", keep=2)


def run(
    strategy: Expression,
    engine: ScriptedEngine,
    *,
    seed: int = 0,
    concurrency: int = 64,
    budget: Budget | None = None,
) -> Result:
    runs = Runtime(engine, equivalence=ExactEquivalence(), concurrency=concurrency)
    result = asyncio.run(runs.solve("Which?", strategy, seed=seed, budget=budget))
    assert engine.stats().branches == 0
    assert recompute(result.trace.events) == result.numbers
    return result


def events(result: Result, kind: str) -> list[dict[str, Any]]:
    return [dict(event) for event in result.trace.events if event["event"] == kind]


@pytest.mark.parametrize("share", [None, 0.4, 0.1, 0.02], ids=str)
@pytest.mark.parametrize("name", JUDGED)
def test_equal_seeds_give_equal_traces(name: str, share: float | None) -> None:
    strategy = sample(6, max_tokens=60) | JUDGED[name] | best()
    most = plan(strategy, judging()).total
    budget = None if share is None else Budget(tokens=max(1, int(most.tokens * share)))
    for seed in range(2):
        runs = [
            run(strategy, judging(shuffled(salt)), seed=seed, concurrency=n, budget=budget)
            for n, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({each.trace.jsonl() for each in runs}) == 1
        assert runs[0].usage.tokens <= (budget.tokens if budget and budget.tokens else most.tokens)
        assert runs[0].calls <= most.calls
        if share is None and name not in FREE:
            assert all(e["score"] is not None for e in events(runs[0], "verdict"))


@pytest.mark.parametrize("name", sorted(set(JUDGED) - {*FREE, "two of pairwise"}))
def test_each_text_is_judged_once(name: str) -> None:
    result = run(sample(12, max_tokens=60) | JUDGED[name] | best(), judging(shuffled(5)))
    verdicts, same = events(result, "verdict"), events(result, "duplicate")
    texts = {(a.candidate.source, a.candidate.index): a.candidate for a in result.candidates}
    assert len(verdicts) == 12
    assert len(same) == 12 - len({c.text.strip() for c in texts.values()}) > 0
    scores = {v["index"]: v["score"] for v in verdicts}
    for each in same:
        source, first = each["same_as"]
        one, other = texts[each["source"], each["index"]], texts[source, first]
        assert one.text.strip() == other.text.strip()
        assert first < each["index"]
        assert scores[first] == scores[each["index"]]
    usages = [c.verdict.usage for c in texts.values() if c.verdict is not None]
    assert sum(usage.tokens for usage in usages) == result.usage.verifier.tokens
    assert sum(usage.tokens == 0 for usage in usages) >= len(same)


def test_likelihood_judges_draws_and_not_texts() -> None:
    result = run(sample(12, max_tokens=60) | judge("likelihood") | best(), judging())
    assert events(result, "duplicate") == []


@pytest.mark.parametrize("kind", ["judge_pointwise", "judge_pairwise", "judge_listwise"])
def test_judges_in_words_pick_what_they_prefer(kind: str) -> None:
    result = run(sample(12, max_tokens=60) | judge(kind) | best(), judging())
    assert result.answer == "3"


def test_steps_are_aggregated() -> None:
    """The reward is a hundredth a letter so far: 13 after the first step, 29 after both."""
    texts = {"Let me see.\n\nThe answer is 1.": (0.13, 0.29)}
    for how, wanted in (("min", 0.13), ("last", 0.29), ("mean", 0.21), ("prod", 0.13 * 0.29)):
        result = run(
            sample(12, max_tokens=60) | judge("process_reward", aggregate=how) | best(), judging()
        )
        scores = {
            a.candidate.text: a.candidate.verdict.score
            for a in result.candidates
            if a.candidate.verdict is not None
        }
        for text in texts:
            assert scores[text] == pytest.approx(wanted)
        assert scores["The answer is 2."] == pytest.approx(0.16)


def test_wrong_settings_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="did you mean 'process_reward'"):
        judge("process_rewards", aggregate="min")
    with pytest.raises(InputError, match="unknown verifier 'process_reward'"):
        judge("process_reward")
    with pytest.raises(InputError, match="unknown aggregation 'most'"):
        judge("process_reward", aggregate="most")
    with pytest.raises(CapabilityError, match="needs heads"):
        plan(sample(2) | judge("outcome_reward") | best(), ScriptedEngine())


@pytest.mark.parametrize("name", JUDGED)
def test_judges_are_written_and_read_back(name: str) -> None:
    strategy = sample(2) | JUDGED[name] | vote("judge")
    assert from_yaml(to_yaml(strategy)) == strategy


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("name", sorted(set(JUDGED) - FREE))
def test_a_verifiers_engine_that_dies_is_a_stated_failure(name: str, left: int) -> None:
    engine, judges = judging(), Dying(opinion, heads={"score": length})
    judges.left = left
    step = JUDGED[name].strategy
    asked = judge(step.verifier, engine="judge", aggregate=step.aggregate)  # type: ignore[attr-defined]
    runs = Runtime({"policy": engine, "judge": judges}, equivalence=ExactEquivalence())
    result = asyncio.run(runs.solve("Which?", sample(6, max_tokens=60) | asked | best(), seed=1))
    failures = [e["failure"] for e in events(result, "verdict") if e["failure"]]
    if left and name == "judge_listwise":  # one call is all it makes
        assert failures == []
        return
    assert len(failures) == 6 if left == 0 else failures
    assert all("the verifier's engine failed: the machine is gone" in f for f in failures)
    assert any(e.get("error") == "ModelError" for e in events(result, "call"))
    assert result.status is (Status.UNJUDGED if len(failures) == 6 else Status.COMPLETE)
    assert [(t.verdicts, t.failures) for t in result.judging] == [(6, len(failures))]
    assert f"{len(failures)} of 6 verdicts failed" in result_line(result)
    assert result.answer in {"1", "2", "3"}
    assert (engine.stats().branches, judges.stats().branches) == (0, 0)
    assert recompute(result.trace.events) == result.numbers


def test_an_engine_that_the_policy_needs_ends_the_run() -> None:
    engine = Dying(opinion)
    engine.left = 2
    runs = Runtime(engine, equivalence=ExactEquivalence())
    with pytest.raises(ModelError, match="the machine is gone"):
        asyncio.run(runs.solve("Which?", sample(6) | judge("judge_pointwise") | best(), seed=1))


def test_every_kind_of_verifier_says_where_it_is_from() -> None:
    sources = [kind.source for kind in VERIFIERS.values()]
    sources += [kind.source for kind in STEP_VERIFIERS.values()]
    assert all(any(char.isdigit() for char in source) for source in sources)


@pytest.mark.parametrize(
    ("reply", "status"), [("Response 2", Status.COMPLETE), ("Who knows?", Status.UNJUDGED)]
)
def test_a_pick_that_names_none_is_counted_too(reply: str, status: Status) -> None:
    def script(prompt: str) -> Mapping[str, float]:
        return {reply: 1.0} if "Compare the final answers" in prompt else guesses(prompt)

    result = run(sample(6) | universal(), ScriptedEngine(script))
    assert result.status is status
    assert [(t.verifier, t.verdicts) for t in result.judging] == [("universal", 1)]
    assert (result.confidence is None) == (status is Status.UNJUDGED)
