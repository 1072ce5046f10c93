"""Confidence of whole attempts: against brute force, and numbers worked by hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import Finish, Usage
from ponder.verifiers import (
    MEASURES,
    Candidate,
    Question,
    TokenConfidence,
    attempt_confidence,
    group_means,
    percentile,
    verifier_kind,
)
from ponder.verifiers.self_certainty import SelfCertainty, self_certainty

VALUES = st.lists(st.floats(0, 104), min_size=1, max_size=60)
WINDOWS = st.integers(1, 70)
SIXTEENTHS = [i / 16 for i in range(1, 17)]


def brute(values: Sequence[float], window: int) -> list[float]:
    if len(values) < window:
        return [math.fsum(values) / len(values)]
    starts = range(len(values) - window + 1)
    return [math.fsum(values[start : start + window]) / window for start in starts]


@given(values=VALUES, window=WINDOWS)
def test_groups_are_sliding_means(values: list[float], window: int) -> None:
    assert group_means(values, window) == pytest.approx(brute(values, window), abs=1e-9)


@given(values=VALUES, window=WINDOWS)
def test_measures_are_what_they_say(values: list[float], window: int) -> None:
    groups = brute(values, window)
    tail = values[-window:]
    few = sorted(groups)[: max(1, int(len(groups) * 0.1))]
    want = {
        "mean": math.fsum(values) / len(values),
        "lowest": min(groups),
        "bottom": math.fsum(few) / len(few),
        "tail": math.fsum(tail) / len(tail),
    }
    assert set(want) == set(MEASURES)
    for name, value in want.items():
        assert attempt_confidence(values, name, window) == pytest.approx(value, abs=1e-9)


@given(values=VALUES, before=VALUES, window=WINDOWS)
def test_a_group_does_not_depend_on_what_came_before(
    values: list[float], before: list[float], window: int
) -> None:
    """To the bit: else an attempt could fall below a threshold that is its own."""
    groups = group_means(values, window)
    if len(values) >= window:
        assert group_means(before + values, window)[-len(groups) :] == groups


@given(value=st.floats(0, 104), length=st.integers(1, 50), window=WINDOWS)
def test_equal_tokens_make_equal_groups(value: float, length: int, window: int) -> None:
    assert len(set(group_means([value] * length, window))) == 1


def test_no_tokens_are_no_confidence() -> None:
    assert group_means([], 8) == []
    assert [attempt_confidence([], name, 8) for name in MEASURES] == [0.0] * 4


def test_the_bottom_tenth_is_rounded_down() -> None:
    rising = [float(i) for i in range(29)]
    assert attempt_confidence(rising, "bottom", 1) == 0.5
    assert attempt_confidence(rising[:19], "bottom", 1) == 0.0


def test_percentiles_worked_by_hand() -> None:
    assert percentile(SIXTEENTHS, 10) == pytest.approx(0.15625)
    assert percentile(SIXTEENTHS, 90) == pytest.approx(0.90625)
    assert percentile(SIXTEENTHS[::-1], 50) == pytest.approx(8.5 / 16)
    assert (percentile(SIXTEENTHS, 0), percentile(SIXTEENTHS, 100)) == (1 / 16, 1.0)
    assert percentile([3.0], 77) == 3.0


@given(values=VALUES, percent=st.floats(0, 100))
def test_percentiles_lie_between_neighbours(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert min(values) <= found <= max(values) + 1e-9
    assert sum(v < found - 1e-9 for v in values) <= math.ceil(percent / 100 * (len(values) - 1))


def attempt(k: int, values: tuple[float, ...] | None) -> Candidate:
    return Candidate(
        source="sample",
        index=0,
        text="x",
        finish=Finish.EOS,
        logprobs=None,
        usage=Usage(decoded=len(values or ())),
        token_confidence=None if values is None else TokenConfidence(k=k, values=values),
    )


def test_self_certainty_is_the_divergence_from_even() -> None:
    """Of p = (.5, .25, .25): KL(U || p) = -(1/3) (ln 1.5 + 2 ln .75)."""
    confidence = -(math.log(0.5) + 2 * math.log(0.25)) / 3
    divergence = -(math.log(1.5) + 2 * math.log(0.75)) / 3
    even = math.log(3)
    verdict = self_certainty(attempt(3, (confidence, even)))
    certainty = divergence / 2
    assert verdict.score == pytest.approx(certainty / (1 + certainty))
    assert verdict.reason == f"{certainty:.4f} nats from even over 3 tokens"
    assert self_certainty(attempt(3, (even, even))).score == pytest.approx(0.0)


@given(st.lists(st.floats(math.log(20), 104), min_size=1, max_size=9), st.floats(1e-3, 9))
def test_surer_tokens_score_higher(values: list[float], more: float) -> None:
    low = self_certainty(attempt(20, tuple(values))).score
    high = self_certainty(attempt(20, tuple(value + more for value in values))).score
    assert low is not None
    assert high is not None
    assert 0 <= low < high < 1


@pytest.mark.parametrize("values", [None, ()])
def test_what_came_without_confidence_cannot_be_judged(values: tuple[float, ...] | None) -> None:
    verdict = self_certainty(attempt(20, values))
    assert verdict.score is None
    assert "sample(confidence=20)" in str(verdict.failure)


def test_self_certainty_costs_nothing() -> None:
    kind = verifier_kind("self_certainty")
    assert (kind.calls(9), kind.tokens(100, 100, 9), kind.needs) == (
        0,
        0,
        frozenset({"confidence"}),
    )
    candidates = [attempt(4, (2.0,)), attempt(4, (3.0,))]
    first, second = asyncio.run(SelfCertainty().judge(Question(text="?"), candidates))
    assert (first.score or 0) < (second.score or 0)
