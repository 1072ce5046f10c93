"""The mixed model of AB-MCTS-M (Inoue et al., arXiv 2503.04412; dossier S 16.8): below one node, a
reward is its child's mean plus noise, and the children's means are alike.

y = alpha_j + e, e ~ N(0, s^2); alpha_j ~ N(mu, a^2); mu ~ N(0.5, 0.2^2); a ~ HalfNormal(0.2);
s ~ HalfNormal(0.3). Given a and s everything is Gaussian and solved exactly; a and s are on a grid
whose cells have equal prior mass, in place of the source's Markov chains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from random import Random
from statistics import NormalDist

from ponder.strategies.search.abmcts import Scores

MEAN, SPREAD = 0.5, 0.2
BETWEEN, WITHIN = 0.2, 0.3
_CELLS = 8


def _half_normal(scale: float) -> list[float]:
    """The middles, by mass, of cells that share the prior equally."""
    middles = ((i + 0.5) / _CELLS for i in range(_CELLS))
    return [NormalDist(0.0, scale).inv_cdf((1 + p) / 2) for p in middles]


GRID = tuple(product(_half_normal(BETWEEN), _half_normal(WITHIN)))
"""(a, s)"""


@dataclass(slots=True, kw_only=True, eq=False)
class Alike:
    """Children with equally many observations each: what the model needs to know of them."""

    children: int = 0
    means: float = 0.0
    """Summed over children, as the next two."""
    mean_squares: float = 0.0
    within: float = 0.0
    """Sums of squares about each child's own mean."""

    def add(self, seen: Scores, sign: int = 1) -> None:
        self.children += sign
        self.means += sign * seen.mean
        self.mean_squares += sign * seen.mean**2
        self.within += sign * seen.squares


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One draw of all that the children share."""

    mu: float
    a: float
    s: float

    def reward(self, dice: Random, seen: Scores | None = None) -> float:
        """What a child may bring next; without observations, what a new one may."""
        n, total = (seen.n, seen.n * seen.mean) if seen is not None else (0, 0.0)
        precision = n / self.s**2 + 1 / self.a**2
        mean = (total / self.s**2 + self.mu / self.a**2) / precision
        return dice.gauss(mean, math.sqrt(1 / precision + self.s**2))


def drawn(alike: Mapping[int, Alike], dice: Random) -> Drawn:
    """From the posterior; `alike` is by the number of observations."""
    cells = posterior(alike)
    top = max(weight for weight, _, _ in cells)
    weights = [math.exp(weight - top) for weight, _, _ in cells]
    (at,) = dice.choices(range(len(cells)), weights)
    _, mean, precision = cells[at]
    a, s = GRID[at]
    return Drawn(mu=dice.gauss(mean, 1 / math.sqrt(precision)), a=a, s=s)


def posterior(alike: Mapping[int, Alike]) -> list[tuple[float, float, float]]:
    """By cell: the log of its weight, up to a constant; mean and precision of mu."""
    weight = [0.0] * len(GRID)
    precision = [1 / SPREAD**2] * len(GRID)
    pull = [MEAN / SPREAD**2] * len(GRID)
    for n, group in alike.items():
        for i, (inverse, base, scatter) in enumerate(_terms(n)):
            weight[i] += group.children * base - group.within * scatter
            weight[i] -= inverse * group.mean_squares / 2
            precision[i] += inverse * group.children
            pull[i] += inverse * group.means
    return [
        (w + (q * q / p - math.log(p)) / 2, q / p, p)
        for w, p, q in zip(weight, precision, pull, strict=True)
    ]


@lru_cache(maxsize=4096)
def _terms(n: int) -> tuple[tuple[float, float, float], ...]:
    """By cell, for a child of n observations, whose mean is N(mu, v = a^2 + s^2 / n): 1 / v, its
    share of the log density that depends on no data, and 1 / (2 s^2).
    """

    def cell(a: float, s: float) -> tuple[float, float, float]:
        v = a * a + s * s / n
        return 1 / v, -(n - 1) * math.log(s) - math.log(v) / 2, 1 / (2 * s * s)

    return tuple(cell(a, s) for a, s in GRID)
