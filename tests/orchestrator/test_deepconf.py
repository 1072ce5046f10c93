"""DeepConf on a model whose confidence is known, against a brute-force reading of the paper."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from guessing import Failing, runtime, shuffled

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Status,
    Trace,
    best,
    check,
    confident,
    deepconf,
    from_yaml,
    judge,
    kept_candidates,
    plan,
    read_trace,
    recompute,
    sample,
    to_yaml,
    vote,
)
from ponder.runtime import (
    BranchPath,
    CapabilityError,
    Finish,
    ModelError,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    ScriptedEngine,
    Segment,
)
from ponder.strategies import ask
from ponder.verifiers import Question, attempt_confidence, extract, group_means, percentile

QUESTION = "Which?"
LETTERS = 4
SURE, TORN = (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3)
WARMUP, MOST, WINDOW, CHUNK = 8, 24, 3, 4
SETTINGS: dict[str, Any] = {
    "most": MOST,
    "eta": 50,
    "window": WINDOW,
    "chunk": CHUNK,
    "parallel": 5,
    "confidence": 3,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_tokens": 60,
}


ONLINE = deepconf(WARMUP, **SETTINGS) | vote("confidence")


@cache
def moody(prompt: str) -> Mapping[str, float]:
    """Attempts that begin with s are sure of each letter but the last, those with t are torn at
    each. The last letter is the answer.
    """
    replies: dict[str, float] = {}
    for kind, odds in (("s", SURE), ("t", TORN)):
        for letters in product(range(3), repeat=LETTERS):
            weight = math.prod(odds[letter] for letter in letters[:-1])
            said = "".join("xyz"[letter] for letter in letters)
            replies[f"{kind}{said} The answer is {letters[-1]}."] = weight
    return replies


@cache
def unanimous(prompt: str) -> Mapping[str, float]:
    return {reply[:-2] + "7.": weight for reply, weight in moody(prompt).items()}


def solved(
    strategy: Expression,
    engine: ScriptedEngine,
    *,
    seed: int = 0,
    concurrency: int = 64,
    budget: Budget | None = None,
) -> Result:
    result = asyncio.run(
        runtime(engine, concurrency).solve(QUESTION, strategy, seed=seed, budget=budget)
    )
    assert engine.stats().branches == 0
    assert recompute(result.trace.events) == result.numbers
    return result


def events(trace: Trace, name: str) -> list[Mapping[str, Any]]:
    return [event for event in trace.events if event["event"] == name]


def attempts(result: Result) -> dict[int, Mapping[str, Any]]:
    return {event["index"]: event for event in events(result.trace, "attempt")}


async def drawn_whole(engine: ScriptedEngine, seed: int) -> list[Segment]:
    """Each attempt by itself, in one decode, on the path it has in the strategy."""
    path = BranchPath(seed, ("deepconf",))
    root = await engine.open(ask(Question(text=QUESTION)), path=path)
    branches = list(root.fork(WARMUP))
    branches += [root.fork(1)[0] for _ in range(MOST - WARMUP)]
    params = Sampling(max_tokens=60, confidence=3)
    found = [await branch.extend(params) for branch in branches]
    for branch in (root, *branches):
        branch.close()
    return found


def test_attempts_end_where_the_paper_says() -> None:
    ends = {end for seed in range(6) for end in ends_as_the_paper_says(seed)}
    assert ends == {"whole", "low", "fell"}


def ends_as_the_paper_says(seed: int) -> set[str]:
    whole = asyncio.run(drawn_whole(ScriptedEngine(moody), seed))
    lowest = [attempt_confidence(segment.confidences, "lowest", WINDOW) for segment in whole]
    threshold = percentile(lowest[:WARMUP], 50)
    result = solved(ONLINE, ScriptedEngine(moody), seed=seed)
    (told,) = events(result.trace, "threshold")
    assert (told["threshold"], told["k"]) == (threshold, 3)
    assert told["lowest"] == lowest[:WARMUP]
    found = attempts(result)
    assert len(found) == MOST
    for i, segment in enumerate(whole):
        groups = group_means(segment.confidences, WINDOW)
        below = [place + WINDOW for place, mean in enumerate(groups) if mean < threshold]
        chunks = range(CHUNK, len(segment.tokens) + CHUNK, CHUNK)
        seen = next((end for end in chunks if below and end >= below[0]), len(segment.tokens))
        end = "whole" if not below else "low" if i < WARMUP else "fell"
        tokens = len(segment.tokens) if i < WARMUP else min(seen, len(segment.tokens))
        assert (found[i]["end"], found[i]["tokens"]) == (end, tokens), i
    return {event["end"] for event in found.values()}


@pytest.mark.parametrize("seed", range(4))
def test_those_that_ended_well_vote_with_their_lowest_group(seed: int) -> None:
    whole = asyncio.run(drawn_whole(ScriptedEngine(moody), seed))
    result = solved(ONLINE, ScriptedEngine(moody), seed=seed)
    voting = [i for i, event in attempts(result).items() if event["end"] == "whole"]
    candidates = {a.candidate.index: a.candidate for a in result.candidates}
    assert sorted(candidates) == sorted(voting)
    weights: dict[str | None, float] = {}
    for i, candidate in candidates.items():
        assert (candidate.text, candidate.logprobs) == (whole[i].text, whole[i].logprobs)
        assert candidate.token_confidence is not None
        assert candidate.token_confidence.values == whole[i].confidences
        weight = attempt_confidence(whole[i].confidences, "lowest", WINDOW)
        assert candidate.measured == weight
        answer = extract(candidate.text)
        weights[answer] = weights.get(answer, 0.0) + weight
    assert result.answer == max(weights, key=lambda answer: weights[answer])
    assert result.confidence == pytest.approx(max(weights.values()) / sum(weights.values()))
    assert result.usage.policy.decoded == sum(e["tokens"] for e in attempts(result).values())


def test_agreement_ends_it_and_nothing_more_is_drawn() -> None:
    result = solved(ONLINE, ScriptedEngine(unanimous))
    assert (len(attempts(result)), result.answer) == (WARMUP, "7")
    (told,) = events(result.trace, "deepconf")
    assert told["agreed"]


def test_those_under_way_are_dropped_when_an_answer_has_won() -> None:
    """The first attempts do not quite agree; a few more do."""
    settings = {**SETTINGS, "consensus": 0.7, "parallel": 7, "chunk": 7}
    for seed in range(20):
        result = solved(
            deepconf(2, **settings) | vote("confidence"), ScriptedEngine(moody), seed=seed
        )
        found = attempts(result)
        ends = [found[i]["end"] for i in sorted(found)]
        if "dropped" in ends:
            break
    (told,) = events(result.trace, "deepconf")
    weights = [group["weight"] for group in told["groups"]]
    assert told["agreed"]
    assert max(weights) / sum(weights) >= 0.7
    assert "whole" in ends[2:]
    assert len(found) < MOST
    assert result.usage.policy.decoded == sum(event["tokens"] for event in found.values())
    assert result.answer == max(told["groups"], key=lambda group: group["weight"])["answer"]


@pytest.mark.parametrize("share", [None, 0.5, 0.2, 0.05, 0.01], ids=str)
@pytest.mark.parametrize("consensus", [0.7, 0.95])
def test_equal_seeds_give_equal_traces(share: float | None, consensus: float) -> None:
    strategy = deepconf(4, **{**SETTINGS, "consensus": consensus}) | vote("confidence")
    most = plan(strategy, ScriptedEngine(moody)).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    for seed in range(2):
        runs = [
            solved(
                strategy,
                ScriptedEngine(moody, delay=shuffled(salt)),
                seed=seed,
                concurrency=concurrency,
                budget=budget,
            )
            for concurrency, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({run.trace.jsonl() for run in runs}) == 1
        if budget is not None and budget.tokens is not None:
            assert runs[0].usage.tokens <= budget.tokens


@pytest.mark.parametrize("warmup", [5, 8])
def test_the_plan_bounds_what_it_costs(warmup: int) -> None:
    strategy = deepconf(warmup, **SETTINGS) | vote("confidence")
    planned = plan(strategy, ScriptedEngine(moody), question=Question(text=QUESTION)).total
    results = [solved(strategy, ScriptedEngine(moody), seed=seed) for seed in range(6)]
    assert max(result.usage.tokens for result in results) <= planned.tokens
    assert warmup < max(result.calls for result in results) <= planned.calls
    endless = solved(strategy, ScriptedEngine(lambda prompt: {"ab" * 60: 1.0}))
    assert endless.usage.tokens == planned.tokens
    assert endless.calls == planned.calls


@pytest.mark.parametrize("tokens", [1, 20, 60, 150, 400])
def test_small_budgets_give_the_best_so_far(tokens: int) -> None:
    prompt = ScriptedEngine().count(ask(Question(text=QUESTION)))
    strategy = deepconf(4, **SETTINGS) | vote("confidence")
    result = solved(strategy, ScriptedEngine(moody), budget=Budget(tokens=prompt + tokens))
    (told,) = events(result.trace, "deepconf")
    assert result.status is (Status.COMPLETE if told["agreed"] else Status.EXHAUSTED)
    assert result.usage.tokens <= prompt + tokens
    whole = [a for a in result.candidates if a.candidate.finish is Finish.EOS]
    assert (result.answer is not None) == bool(whole)
    assert solved(strategy, ScriptedEngine(moody), budget=Budget(tokens=1)).answer is None


@pytest.mark.parametrize("reply", ["", "a"])
def test_attempts_that_end_at_once(reply: str) -> None:
    strategy = deepconf(4, **SETTINGS) | vote("confidence")
    result = solved(strategy, ScriptedEngine(lambda prompt: {reply: 1.0}))
    assert result.answer is None
    assert {event["end"] for event in attempts(result).values()} == {"whole"}


def test_engines_without_confidence_are_refused_before_a_token_is_spent() -> None:
    mute = ScriptedEngine(moody, name="mute")
    mute.capabilities = replace(mute.capabilities, confidence=0)
    for strategy in (
        deepconf(2, most=4) | vote("confidence"),
        sample(2, confidence=4) | confident(0.5) | vote("confidence"),
        sample(2) | judge("self_certainty") | best(),
    ):
        with pytest.raises(CapabilityError, match="needs confidence of the policy engine, and 'mu"):
            plan(strategy, mute)
    assert mute.stats().opened == 0
    stuck = ScriptedEngine(moody, name="stuck")
    stuck.capabilities = replace(stuck.capabilities, prefix_continuation=None)
    with pytest.raises(CapabilityError, match="needs prefix_continuation"):
        plan(deepconf(2, most=4) | vote(), stuck)
    plan(deepconf(4, most=4) | vote(), stuck)


def test_it_is_written_and_read_back() -> None:
    online = deepconf(4, most=8, eta=90, stop="\n") | vote("confidence")
    offline = sample(16, confidence=20) | confident(0.1, measure="tail") | vote("confidence")
    for strategy in (online, offline):
        assert from_yaml(to_yaml(strategy)) == strategy
        check(strategy)


OFFLINE = sample(9, confidence=3, temperature=1.0) | confident(0.4, measure="lowest", window=3)


def test_offline_the_torn_are_left_out() -> None:
    result = solved(OFFLINE | vote("confidence"), ScriptedEngine(moody))
    (told,) = events(result.trace, "confident")
    texts = {a.candidate.index: a.candidate.text for a in result.candidates}
    assert len(told["kept"]) == 4
    sure = sum(text.startswith("s") for text in texts.values())
    assert sum(texts[i].startswith("s") for _, i in told["kept"]) == min(sure, 4) > 0


def test_traces_keep_confidence_whole(tmp_path: Path) -> None:
    """So a run can be judged, cut and voted on again."""
    result = solved(OFFLINE | vote("confidence"), ScriptedEngine(moody))
    result.trace.write(tmp_path / "run.jsonl")
    kept = kept_candidates(read_trace(tmp_path / "run.jsonl"))
    assert [c.token_confidence for c in kept] == [
        a.candidate.token_confidence for a in result.candidates
    ]
    assert all(c.token_confidence and c.token_confidence.k == 3 for c in kept)
    plain = solved(sample(2) | vote(), ScriptedEngine(moody))
    assert "token_confidence" not in plain.trace.jsonl()


def test_a_replay_is_the_run(tmp_path: Path) -> None:
    for name, strategy in (("offline", OFFLINE), ("online", deepconf(4, **SETTINGS))):
        file = tmp_path / name

        async def run(engine: Any, strategy: Expression = strategy) -> str:
            result = await runtime(engine).solve(QUESTION, strategy | vote("confidence"), seed=5)
            await engine.close()
            return result.trace.jsonl()

        recorded = asyncio.run(run(RecordingEngine(ScriptedEngine(moody), file)))
        assert asyncio.run(run(ReplayEngine(file))) == recorded


def test_one_attempt_is_a_plain_sample() -> None:
    settings: dict[str, Any] = {
        "temperature": 0.6,
        "top_p": 0.95,
        "max_tokens": 60,
        "confidence": 3,
    }
    for seed in range(5):
        one, plain = [
            solved(strategy | vote("confidence"), ScriptedEngine(moody), seed=seed)
            for strategy in (
                deepconf(1, most=1, name="draw", **settings),
                sample(1, name="draw", **settings),
            )
        ]
        assert one.answer == plain.answer
        assert one.usage == plain.usage
        assert one.candidates[0].candidate.text == plain.candidates[0].candidate.text


def test_an_engine_that_fails_leaves_nothing_open() -> None:
    engine = Failing(moody)
    with pytest.raises(ModelError, match="the machine is gone"):
        asyncio.run(runtime(engine).solve(QUESTION, ONLINE, seed=0))
    assert engine.stats().branches == 0
