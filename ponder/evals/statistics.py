"""How sure a measured accuracy is, and what k samples would have given: Wilson intervals, unbiased
pass@k and maj@k.

Plain functions of counts; exact integer arithmetic up to the last division. What is undefined is an
error here, and never a NaN: callers ask only what has an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

from ponder.runtime import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value, or why there is none."""

    value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One of the candidates for one question, reduced to what voting sees."""

    group: int | None
    """Candidates with equal answers share a number; None has no answer and does not vote."""
    correct: bool


def wilson(correct: int, n: int, level: float = 0.95) -> Interval:
    """The score interval of a proportion (Wilson 1927).

    Args:
        correct: successes, 0 to n.
        n: trials, at least 1.
        level: coverage, between 0 and 1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"{correct!r} of {n!r}: an interval needs n >= 1 and 0 <= correct <= n")
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; it must be between 0 and 1")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not push an end past the ends that algebra gives.
    return Interval(
        low=max(0.0, middle - half) if correct else 0.0,
        high=min(1.0, middle + half) if correct < n else 1.0,
    )


def pass_at(k: int, n: int, correct: int) -> float:
    """Probability that k of the n samples, drawn without replacement, hold a correct one (Chen et
    al. 2021): unbiased for k fresh samples.
    """
    _check(k, n)
    if not 0 <= correct <= n:
        raise InputError(f"correct is {correct!r}; it must be 0 to n = {n}")
    return 1 - comb(n - correct, k) / comb(n, k)


def majority_at(k: int, samples: Sequence[Sample]) -> float:
    """Probability that the majority of k of the samples, drawn without replacement, is correct.

    The vote is the strategy's: samples without an answer do not vote, the largest group wins, and
    of the largest groups the one whose first member in the draw has the lowest place in `samples`.
    A draw in which nobody votes is wrong.

    A draw is won by group g with c votes and first member at place p when every other group has
    fewer votes, or c votes all cast after p. Given (g, c, p) the other groups are independent but
    for the total of k, so their draws are counted by a product of polynomials in the number drawn.
    """
    _check(k, len(samples))
    groups: dict[int, list[int]] = {}
    for place, sample in enumerate(samples):
        if sample.group is not None:
            groups.setdefault(sample.group, []).append(place)
    silent = len(samples) - sum(map(len, groups.values()))
    won = 0
    for number, places in groups.items():
        if samples[places[0]].correct:
            others = [p for other, p in groups.items() if other != number]
            won += _wins(k, places, others, silent)
    return won / comb(len(samples), k)


def _wins(k: int, places: Sequence[int], others: Sequence[Sequence[int]], silent: int) -> int:
    """Draws of k that the group at `places` wins."""
    longest = max(map(len, others), default=0)
    total = 0
    for votes in range(1, min(k, len(places)) + 1):
        if votes > longest:
            rest = silent + sum(map(len, others))
            total += comb(len(places), votes) * comb(rest, k - votes)
            continue
        for rank, first in enumerate(places[: len(places) - votes + 1]):
            mine = comb(len(places) - rank - 1, votes - 1)
            total += mine * _draws(k - votes, votes, first, others, silent)
    return total


def _draws(size: int, votes: int, first: int, others: Sequence[Sequence[int]], silent: int) -> int:
    """Ways to draw `size` of the rest so that no other group beats `votes` first cast at
    `first`.
    """
    ways = [comb(silent, drawn) for drawn in range(size + 1)]
    for places in others:
        mine = [comb(len(places), drawn) for drawn in range(min(votes, size + 1))]
        if votes <= size:
            mine.append(comb(sum(place > first for place in places), votes))
        ways = [
            sum(ways[drawn - x] * mine[x] for x in range(min(drawn + 1, len(mine))))
            for drawn in range(size + 1)
        ]
    return ways[size]


def _check(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise InputError(f"k is {k!r}; it must be 1 to the {n} samples there are")
