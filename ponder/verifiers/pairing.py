"""Who is compared with whom: everyone with everyone, or where that is too much, Swiss rounds among
those who won as often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

MOST_ALL = 6
"""Candidates up to which all pairs are compared."""

Pair = tuple[int, int]


def rounds(n: int) -> int:
    """Rounds among `n`: one where all pairs are compared in it."""
    return 1 if n <= MOST_ALL else math.ceil(math.log2(n)) + 1


def most_pairs(n: int) -> int:
    """Compared at most, of `n` candidates or fewer: of two that say the same, one is."""
    if n <= MOST_ALL:
        return n * (n - 1) // 2
    return max(most_pairs(MOST_ALL), rounds(n) * (n // 2))


def paired(order: Sequence[int], points: Sequence[float], met: Iterable[Pair]) -> list[Pair]:
    """The pairs of the next round.

    Args:
        order: all candidates, in an order drawn for the run, which breaks ties.
        points: of each so far.
        met: pairs compared so far, smaller number first; none meets twice.
    """
    if len(order) <= MOST_ALL:
        return list(combinations(sorted(order), 2))
    before = set(met)
    played = Counter(i for pair in before for i in pair)
    waiting = sorted(order, key=lambda i: (-points[i], order.index(i)))
    if len(waiting) % 2:  # the one that has played most, and of those the last, sits out
        waiting.remove(max(reversed(waiting), key=lambda i: played[i]))
    pairs: list[Pair] = []
    while len(waiting) > 1:
        first = waiting.pop(0)
        other = next((o for o in waiting if _pair(first, o) not in before), None)
        if other is not None:
            waiting.remove(other)
            pairs.append(_pair(first, other))
    return pairs


def _pair(a: int, b: int) -> Pair:
    return min(a, b), max(a, b)
