"""How confident a model was over a whole attempt: measures of its tokens' confidence (Fu et al.
2025, DeepConf, arXiv 2508.15260, section 2).

A group is a run of `window` tokens; its confidence is their mean, in nats. An attempt of n tokens
has n - window + 1 groups, each a token behind the one before; a shorter one is one group. Sums are
exact, so a group's mean depends on its tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

MEASURES = ("mean", "lowest", "bottom", "tail")
WINDOW = 2048
"""Tokens a group, in the paper."""
_BOTTOM = 10
"""One in so many groups is at the bottom."""
_TICKS = 2**40
"""Sums are of whole numbers of nats / _TICKS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfidence:
    """What an engine told of each token of a decode."""

    k: int
    """Likeliest tokens that each value is of."""
    values: tuple[float, ...]
    """Nats, as `Segment.confidences`."""


def group_means(values: Sequence[float], window: int) -> list[float]:
    """Of each group, in order; none of no tokens."""
    if not values:
        return []
    size = min(window, len(values))
    sums = [0, *accumulate(round(value * _TICKS) for value in values)]
    behind = sums[size:]
    return [(b - a) / (size * _TICKS) for a, b in zip(sums, behind, strict=False)]


def attempt_confidence(values: Sequence[float], measure: str, window: int) -> float:
    """Nats; larger is more confident. 0, which is less than any other, of no tokens.

    Args:
        values: of each token.
        measure: "mean" of all tokens; the "lowest" group; the mean of the "bottom" tenth of the
            groups; the "tail", which is the last group.
        window: tokens a group.
    """
    groups = group_means(values, len(values) if measure == "mean" else window)
    if not groups:
        return 0.0
    if measure == "lowest":
        return min(groups)
    if measure == "bottom":
        few = sorted(groups)[: max(1, len(groups) // _BOTTOM)]
        return math.fsum(few) / len(few)
    return groups[-1]


def percentile(values: Sequence[float], percent: float) -> float:
    """Of at least one value, with a straight line between two neighbours."""
    ranked = sorted(values)
    place = percent / 100 * (len(ranked) - 1)
    below = min(int(place), len(ranked) - 1)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])
