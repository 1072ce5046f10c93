"""Intervals against published values; pass@k and maj@k against enumeration of every subset."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals import Sample, majority_at, pass_at, wilson
from ponder.runtime import InputError


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe(correct: int, n: int, low: float, high: float) -> None:
    interval = wilson(correct, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    correct, n = case
    interval, mirror = wilson(correct, n), wilson(n - correct, n)
    assert 0 <= interval.low <= correct / n <= interval.high <= 1
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((interval.low, interval.high))
    assert wilson(correct, n, 0.5).high <= interval.high


@pytest.mark.parametrize(("correct", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95)])
def test_wilson_refuses(correct: int, n: int, level: float) -> None:
    with pytest.raises(InputError, match="needs n >= 1"):
        wilson(correct, n, level)


def test_wilson_refuses_a_level_of_one() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        wilson(1, 2, 1.0)


def test_pass_at_vectors() -> None:
    assert pass_at(4, 8, 2) == pytest.approx(0.785714, abs=1e-6)
    assert pass_at(1, 10, 3) == pytest.approx(0.3)
    assert pass_at(3, 4, 2) == 1
    assert pass_at(4, 4, 0) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=10), st.data())
def test_pass_at_is_exact(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    passed = [any(drawn) for drawn in combinations(right, k)]
    assert pass_at(k, len(right), sum(right)) == pytest.approx(sum(passed) / len(passed))


@pytest.mark.parametrize(("k", "n", "correct"), [(0, 4, 1), (5, 4, 1), (2, 4, 5)])
def test_pass_at_refuses(k: int, n: int, correct: int) -> None:
    with pytest.raises(InputError, match="must be"):
        pass_at(k, n, correct)


def votes(samples: list[Sample], chosen: tuple[int, ...]) -> bool:
    """The rule itself: most votes, then the first cast."""
    places: dict[int, list[int]] = {}
    for place in chosen:
        number = samples[place].group
        if number is not None:
            places.setdefault(number, []).append(place)
    if not places:
        return False
    winner = max(places.values(), key=lambda p: (len(p), -p[0]))
    return samples[winner[0]].correct


groups = st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=10)


@given(groups, st.sets(st.integers(0, 4)), st.data())
def test_majority_is_exact(numbers: list[int | None], right: set[int], data: st.DataObject) -> None:
    samples = [Sample(group=n, correct=n in right) for n in numbers]
    k = data.draw(st.integers(1, len(samples)))
    draws = list(combinations(range(len(samples)), k))
    assert majority_at(k, samples) == sum(votes(samples, d) for d in draws) / comb(len(samples), k)


@given(groups)
def test_passing_is_at_least_as_likely_as_a_majority(numbers: list[int | None]) -> None:
    samples = [Sample(group=n, correct=n == 0) for n in numbers]
    for k in range(1, len(samples) + 1):
        right = sum(s.correct for s in samples)
        assert majority_at(k, samples) <= pass_at(k, len(samples), right) + 1e-12


def test_one_vote_is_one_sample() -> None:
    samples = [Sample(group=g, correct=g == 2) for g in (2, 0, None, 2)]
    assert majority_at(1, samples) == 0.5


def test_majority_of_many_is_quick_and_sure() -> None:
    samples = [Sample(group=i % 7, correct=i % 7 == 3) for i in range(128)]
    assert 0 < majority_at(64, samples) < 1
    most = [Sample(group=0 if i < 200 else i, correct=i < 200) for i in range(256)]
    assert majority_at(128, most) == 1
