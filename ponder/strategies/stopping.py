"""When enough samples agree: rules of adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860,
section 3.2, and the stops their repository compares), in closed form.

A rule sees how often each answer was given, never the answers. Those without one do not vote, so
they are nobody's rivals; they count where a share of all samples is taken. Where the source
integrates numerically, or by Monte Carlo, a finite sum gives the same integral exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ponder.verifiers import entropy

TOP = 5
"""Answers that the Dirichlet rule looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The samples so far."""

    counts: tuple[int, ...]
    """Of each distinct answer, largest first."""
    drawn: int
    """All samples, those without an answer too."""
    most: int
    """Samples that may be drawn."""

    @property
    def two(self) -> tuple[int, int]:
        """The leader's count and its nearest rival's; 0 where there is none."""
        first, second, *_ = (*self.counts, 0, 0)
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Stop when a measure of the samples so far reaches a threshold."""

    threshold: float
    """The source's."""
    measure: Callable[[Tally], float]
    """In [0, 1]."""
    falls: bool = False
    """It stops at the threshold or below, else at it or above."""

    def settled(self, value: float, threshold: float) -> bool:
        return value <= threshold if self.falls else value >= threshold


def beta(tally: Tally) -> float:
    """P(Beta(a + 1, b + 1) > 1/2): that the leader beats its nearest rival in the long run."""
    a, b = tally.two
    draws = a + b + 1
    return sum(math.comb(draws, j) for j in range(a + 1)) / 2**draws if a else 0.0


def dirichlet(tally: Tally) -> float:
    """P(the leader is the mode) under Dirichlet(counts + 1) over the `TOP` most common answers.

    Independent gammas in place of the Dirichlet's shares, and inclusion and exclusion over the
    rivals that are above the leader. With fewer than three answers it is `beta`.
    """
    if len(tally.counts) < 3:
        return beta(tally)
    leader, *rivals = tally.counts[:TOP]
    return math.fsum(
        (-1) ** size * _below(leader, others)
        for size in range(len(rivals) + 1)
        for others in combinations(rivals, size)
    )


def disorder(tally: Tally) -> float:
    """Entropy of the answers, as a share of the largest possible. Where all agree, one more that
    differs is imagined; a single sample tells nothing.
    """
    if sum(tally.counts) < 2:
        return 1.0
    counts = tally.counts if len(tally.counts) > 1 else (*tally.counts, 1)
    return entropy(counts) / math.log(len(counts))


def share(tally: Tally) -> float:
    """Of the leader among all samples; a single sample tells nothing."""
    return tally.two[0] / tally.drawn if tally.drawn > 1 else 0.0


def lead(tally: Tally) -> float:
    """The leader's lead, as a share of one that the samples left cannot make up for: at 1 they
    cannot change the majority.
    """
    a, b = tally.two
    return min(1.0, (a - b) / (tally.most - tally.drawn + 1))


RULES = {
    "beta": Rule(threshold=0.95, measure=beta),
    "dirichlet": Rule(threshold=0.95, measure=dirichlet),
    "entropy": Rule(threshold=0.75, measure=disorder, falls=True),
    "share": Rule(threshold=0.8, measure=share),
    "lead": Rule(threshold=1.0, measure=lead),
}


def _below(leader: int, others: Sequence[int]) -> float:
    """P(Gamma(leader + 1) < Gamma(n + 1) for each n of `others`): in a race of equals, the leader
    makes its point `leader + 1` before any other makes point n + 1.
    """
    return math.fsum(
        math.comb(leader + m, m) * ways / (1 + len(others)) ** (leader + 1 + m)
        for m, ways in enumerate(_sequences(others))
    )


def _sequences(caps: Sequence[int]) -> list[int]:
    """How many sequences of length 0, 1, ... show letter i at most `caps[i]` times."""
    ways = [1]
    for cap in caps:
        longest = len(ways) - 1
        ways = [
            sum(math.comb(m, k) * ways[m - k] for k in range(max(0, m - longest), min(cap, m) + 1))
            for m in range(longest + cap + 1)
        ]
    return ways
