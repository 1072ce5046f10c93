"""What stays by confidence, votes that weigh by it, and attempts decoded in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_llama import tiny

from ponder.runtime import BranchPath, Engine, Finish, InputError, Sampling, ScriptedEngine, Segment
from ponder.runtime.engine.engine import LocalEngine
from ponder.strategies import Answer, Confident, DeepConf, Load, Sample, Vote
from ponder.strategies.chunked import Chunked
from ponder.verifiers import Candidate, TokenConfidence

Make = Callable[..., Any]  # fixtures that make a context or a candidate, by keyword


@pytest.fixture
def sure(attempt: Make) -> Make:
    def make(index: int, text: str, *values: float) -> Candidate:
        made: Candidate = attempt(index, text)
        return replace(made, token_confidence=TokenConfidence(k=20, values=values))

    return make


def kept(alone: Make, strategy: Confident, candidates: Sequence[Candidate]) -> list[int]:
    found = asyncio.run(alone().run(strategy, candidates))
    assert all(candidate.measured is not None for candidate in found)
    return [candidate.index for candidate in found]


def test_the_most_confident_stay(alone: Make, sure: Make) -> None:
    """By each measure another one, under windows of two tokens."""
    made = [
        sure(0, "is 0", 9.0, 9.0, 9.0, 1.0),
        sure(1, "is 1", 5.0, 5.0, 5.0, 5.0),
        sure(2, "is 2", 0.0, 0.0, 7.0, 7.0),
    ]
    for measure, best in (("mean", 0), ("lowest", 0), ("bottom", 0), ("tail", 2)):
        strategy = Confident(keep=0.1, measure=measure, window=2)
        assert kept(alone, strategy, made) == [best]
    assert kept(alone, Confident(keep=0.1, measure="lowest", window=1), made) == [1]


@pytest.mark.parametrize(
    ("keep", "of", "stay"), [(0.1, 1, 1), (0.1, 10, 1), (0.1, 16, 2), (0.1, 30, 3), (0.9, 16, 15)]
)
def test_a_share_stays(alone: Make, sure: Make, keep: float, of: int, stay: int) -> None:
    made = [sure(i, f"is {i}", float(i + 1)) for i in range(of)]
    strategy = Confident(keep=keep)
    assert kept(alone, strategy, made) == list(range(of - stay, of))
    bound = strategy.bound(Load(prompt_tokens=9, candidates=of, candidate_tokens=4))
    assert (bound.candidates, bound.tokens, bound.calls) == (stay, 0, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # they keep nothing
@given(values=st.lists(st.floats(0, 50), min_size=1, max_size=20), keep=st.floats(0.01, 1.0))
def test_nobody_left_out_is_surer_than_one_who_stays(
    alone: Make, sure: Make, values: list[float], keep: float
) -> None:
    made = [sure(i, f"is {i}", value) for i, value in enumerate(values)]
    stay = kept(alone, Confident(keep=keep), made)
    assert keep * len(values) - 1e-6 <= len(stay) < keep * len(values) + 1
    out = [value for i, value in enumerate(values) if i not in stay]
    assert max(out, default=0.0) <= min(values[i] for i in stay) + 1e-9


def test_among_equals_the_first_stay(alone: Make, sure: Make) -> None:
    made = [sure(i, f"is {i}", 2.0) for i in range(4)]
    assert kept(alone, Confident(keep=0.5), made[::-1]) == [0, 1]


def test_who_cannot_vote_does_not_take_a_place(alone: Make, sure: Make) -> None:
    made = [sure(0, "no idea", 50.0), sure(1, "is 1", 2.0), sure(2, "is 2", 3.0)]
    assert kept(alone, Confident(keep=0.5), made) == [2]
    assert kept(alone, Confident(keep=0.5), made[:1]) == [0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # they keep nothing
@given(given=st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 50)), min_size=1, max_size=12))
def test_equal_confidence_is_the_majority(
    alone: Make, sure: Make, given: list[tuple[int, float]]
) -> None:
    """And weighed by it, the sums of each answer's members decide."""

    def candidates(values: Sequence[float]) -> list[Candidate]:
        return [
            sure(i, f"The answer is {answer}.", value)
            for i, ((answer, _), value) in enumerate(zip(given, values, strict=True))
        ]

    def voted(weights: str, values: Sequence[float]) -> Answer:
        (answer,) = asyncio.run(alone().run(Vote(weights=weights), candidates(values)))
        assert isinstance(answer, Answer)
        return answer

    even, count = (voted(by, [3.0] * len(given)) for by in ("confidence", "count"))
    assert (even.text, even.chosen) == (count.text, count.chosen)
    assert even.confidence == pytest.approx(count.confidence)
    sums: dict[int, float] = {}
    for answer, value in given:
        sums[answer] = sums.get(answer, 0.0) + value
    found = voted("confidence", [value for _, value in given])
    assert found.confidence == pytest.approx(max(sums.values()) / sum(sums.values()))
    assert sums[int(found.text or "")] == pytest.approx(max(sums.values()))


def test_votes_weigh_by_the_newest_measure(alone: Make, sure: Make) -> None:
    made = [sure(0, "is 1", 1.0, 9.0), sure(1, "is 2", 6.0, 2.0)]
    (by_mean,) = asyncio.run(alone().run(Vote(weights="confidence"), made))
    assert by_mean.text == "1"
    measured = asyncio.run(alone().run(Confident(measure="lowest", window=1), made))
    (by_lowest,) = asyncio.run(alone().run(Vote(weights="confidence"), measured))
    assert (by_lowest.text, by_lowest.confidence) == ("2", pytest.approx(2 / 3))


@pytest.mark.parametrize("strategy", [Confident(), Vote(weights="confidence")], ids=str)
def test_candidates_without_confidence_are_refused(
    alone: Make, attempt: Make, strategy: Confident | Vote
) -> None:
    with pytest.raises(InputError, match=r"ask for it where it is made, as in sample\(16, conf"):
        asyncio.run(alone().run(strategy, [attempt(0, "is 1")]))
    empty = replace(attempt(0, ""), logprobs=None)
    assert len(asyncio.run(alone().run(strategy, [empty]))) == 1


def test_samples_tell_how_many_tokens_their_confidence_is_of(alone: Make) -> None:
    def script(prompt: str) -> dict[str, float]:
        return {"The answer is 1.": 0.5, "The answer is 2.": 0.5}

    engine = ScriptedEngine(script)
    engine.capabilities = replace(engine.capabilities, confidence=5)
    for asked, of in ((3, 3), (5, 5), (20, 5)):
        (found,) = asyncio.run(alone(policy=engine).run(Sample(confidence=asked)))
        assert found.token_confidence.k == of
        assert len(found.token_confidence.values) == len(found.logprobs)
    (quiet,) = asyncio.run(alone(policy=engine).run(Sample()))
    assert quiet.token_confidence is None
    assert Sample(confidence=3).needs() == {"policy": {"confidence"}}


BAD: list[tuple[type[Any], dict[str, Any], str]] = [
    (Confident, {"keep": 0.0}, r"keep is 0.0; it must be a share in \(0, 1\]"),
    (Confident, {"keep": 1.1}, "keep is 1.1"),
    (Confident, {"measure": "median"}, "measure is 'median'; it must be one of mean, lowest"),
    (Confident, {"window": 0}, "window is 0; it must be at least 1 token"),
    (Vote, {"weights": "sure"}, "it must be one of count, judge, confidence"),
    (Sample, {"confidence": -1}, "confidence is -1"),
    (DeepConf, {"warmup": 0}, "warmup is 0; it must be at least 1 attempt"),
    (DeepConf, {"warmup": 9, "most": 8}, r"most is 8; it must be at least warmup \(9\)"),
    (DeepConf, {"eta": 0}, r"eta is 0; it must be a percentage in \(0, 100\)"),
    (DeepConf, {"eta": 100}, "eta is 100"),
    (DeepConf, {"window": -1}, "window is -1"),
    (DeepConf, {"consensus": 1.5}, r"consensus is 1.5; it must be a share in \(0, 1\]"),
    (DeepConf, {"confidence": 0}, "confidence is 0; it must be at least 1 token"),
    (DeepConf, {"chunk": 0}, "chunk is 0"),
    (DeepConf, {"parallel": 0}, "parallel is 0"),
    (DeepConf, {"max_tokens": 0}, "max_tokens is 0"),
]


@pytest.mark.parametrize(("method", "settings", "wrong"), BAD)
def test_settings_out_of_range(method: type[Any], settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        method(**settings)


def wordy(prompt: str) -> dict[str, float]:
    letters = "ab"
    texts = [a + b + c + d + "##" + a for a in letters for b in letters for c in "a#" for d in "#b"]
    return {text: 1.0 for text in texts}


async def whole_and_chunked(
    engine: Engine, params: Sampling, chunk: int
) -> list[tuple[Segment, str, Chunked, str]]:
    """One decode, and one in chunks, for each of some paths."""
    made: list[tuple[Segment, str, Chunked, str]] = []
    for i in range(6):
        one, other = [await engine.open("Letters?", path=BranchPath(3, (i,))) for _ in range(2)]
        segment = await one.extend(params)
        growth = Chunked(engine, other, params)
        while growth.finish is None:
            await growth.grow(chunk)
        made.append((segment, one.text, growth, other.text))
        assert one.tokens == other.tokens
        one.close()
        other.close()
    await engine.close()
    return made


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("stop", [(), ("##",), ("b##", "#a#")], ids=str)
@pytest.mark.parametrize("kind", ["scripted", "own"])
def test_chunks_come_to_what_one_decode_does(kind: str, stop: tuple[str, ...], chunk: int) -> None:
    params = Sampling(max_tokens=23, stop=stop, confidence=2)
    if kind == "own":
        engine: Engine = LocalEngine(tiny(ends=False), pages=200, threads=1, kernels="torch")
        params = replace(params, stop=own_stops()[: len(stop)])
    else:
        engine = ScriptedEngine(wordy)
    ends: set[Finish] = set()
    for segment, text, growth, chunked in asyncio.run(whole_and_chunked(engine, params, chunk)):
        assert chunked == text
        assert growth.finish is segment.finish
        assert growth.logprobs == pytest.approx(segment.logprobs, abs=1e-4)
        assert growth.confidences == pytest.approx(segment.confidences, abs=1e-4)
        assert growth.usage.decoded >= segment.usage.decoded
        ends.add(segment.finish)
    assert (Finish.STOP in ends) == bool(stop)


@cache
def own_stops() -> tuple[str, ...]:
    """Strings that the tiny model says in the middle of what it draws."""

    async def said() -> list[str]:
        engine = LocalEngine(tiny(ends=False), pages=200, threads=1, kernels="torch")
        branches = [await engine.open("Letters?", path=BranchPath(3, (i,))) for i in range(6)]
        texts = [(await branch.extend(Sampling(max_tokens=23))).text for branch in branches]
        await engine.close()
        return texts

    found = [text[start : start + 3] for text in asyncio.run(said()) for start in (4, 7)]
    return tuple(stop for stop in found if "\ufffd" not in stop)
