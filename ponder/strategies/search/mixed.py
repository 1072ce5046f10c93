"""The mixed model of AB-MCTS-M (Inoue et al., arXiv 2503.04412; dossier S 16.8): below one node, a
reward is its child's mean plus noise, and the children's means are alike.

y = alpha_j + e, e ~ N(0, s^2); alpha_j ~ N(mu, a^2); mu ~ N(0.5, 0.2^2); a ~ HalfNormal(0.2);
s ~ HalfNormal(0.3). Given a and s everything is Gaussian and solved exactly; a and s are on a grid
whose cells have equal prior mass, in place of the source's Markov chains.

What a node has seen is three sums a cell, over its children. A vector of cells is one integer, a
lane of 128 bits each, so a few operations change all of them, and sums do not depend on the order.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from random import Random
from statistics import NormalDist
from struct import Struct

from ponder.strategies.search.abmcts import Scores
from ponder.strategies.search.largest import fewest, normal_square

MEAN, SPREAD = 0.5, 0.2
BETWEEN, WITHIN = 0.2, 0.3
_CELLS = 8


def _half_normal(scale: float) -> list[float]:
    """The middles, by mass, of cells that share the prior equally."""
    middles = ((i + 0.5) / _CELLS for i in range(_CELLS))
    return [NormalDist(0.0, scale).inv_cdf((1 + p) / 2) for p in middles]


GRID = tuple(product(_half_normal(BETWEEN), _half_normal(WITHIN)))
"""(a, s)"""


_LANE = 128
_TABLE, _FACTOR, _SHOWN = 52, 44, 32
"""Binary places: of terms by cell, of what they are multiplied by, and of sums when read: a lane's
upper half, which has room for a million children of one node.
"""
_UPPER = Struct("<" + "8xQ" * len(GRID))


def _lanes(values: Iterable[float], places: int) -> int:
    """Values of at least 0, one a cell, as one integer."""
    return sum(round(math.ldexp(v, places)) << _LANE * i for i, v in enumerate(values))


def _upper(lanes: int) -> tuple[int, ...]:
    return _UPPER.unpack(lanes.to_bytes(_UPPER.size, "little"))


_NO_PRECISION = _lanes([1 / SPREAD**2] * len(GRID), _TABLE + _FACTOR)
_NO_PULL = _lanes([MEAN / SPREAD**2] * len(GRID), _TABLE + _FACTOR)
_SCATTER = _lanes([1 / (s * s) for _, s in GRID], _TABLE)


@lru_cache(maxsize=4096)
def _terms(n: int) -> tuple[int, int]:
    """Of a child of n observations, whose mean is N(mu, v = a^2 + s^2 / n): 1 / v, and what its
    density loses, twice its logarithm, whatever was seen; up to a constant.
    """
    v = [a * a + s * s / n for a, s in GRID]
    low, least = min(v), min(s for _, s in GRID)
    lost = [
        math.log(at / low) + 2 * (n - 1) * math.log(s / least)
        for at, (_, s) in zip(v, GRID, strict=True)
    ]
    return _lanes([1 / at for at in v], _TABLE), _lanes(lost, _TABLE) << _FACTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The posterior, by cell; precision and pull of mu in a common unit."""

    logs: list[float]
    """Of weights, up to a constant."""
    summed: list[float]
    """Weights, accumulated."""
    precision: tuple[int, ...]
    pull: tuple[int, ...]

    def mu(self, at: int) -> tuple[float, float]:
        """Mean and precision of mu, given the cell."""
        return self.pull[at] / self.precision[at], math.ldexp(self.precision[at], -_SHOWN)


@dataclass(slots=True, kw_only=True, eq=False)
class Alike:
    """What the model needs to know of a node's children: sums by cell, as lanes."""

    precision: int = _NO_PRECISION
    pull: int = _NO_PULL
    misfit: int = 0
    """Minus twice the log density of what was seen, less what mu explains."""
    _cells: Cells | None = None

    def add(self, seen: Scores, sign: int = 1) -> None:
        """A child, or with -1 take away what was added."""
        inverse, lost = _terms(seen.n)
        self.precision += sign * (inverse << _FACTOR)
        self.pull += sign * inverse * _fixed(seen.mean)
        fit = inverse * _fixed(seen.mean**2) + lost + _SCATTER * _fixed(seen.squares)
        self.misfit += sign * fit
        self._cells = None

    def cells(self) -> Cells:
        if self._cells is None:
            self._cells = _solved(*map(_upper, (self.precision, self.pull, self.misfit)))
        return self._cells

    def drawn(self, dice: Random) -> Drawn:
        """From the posterior."""
        cells = self.cells()
        at = min(bisect(cells.summed, dice.random() * cells.summed[-1]), len(GRID) - 1)
        mean, precision = cells.mu(at)
        a, s = GRID[at]
        mu = dice.gauss(mean, 1 / math.sqrt(precision))
        return Drawn(mu=mu, between=a * a, within=s * s)


def _fixed(value: float) -> int:
    return round(math.ldexp(value, _FACTOR))


def _solved(
    precision: tuple[int, ...], pull: tuple[int, ...], misfit: tuple[int, ...]
) -> Cells:
    half = math.ldexp(0.5, -_SHOWN)
    logs = [
        (q / p * q - e) * half - math.log(p) / 2
        for p, q, e in zip(precision, pull, misfit, strict=True)
    ]
    top = max(logs)
    summed = list(accumulate([math.exp(log - top) for log in logs]))
    return Cells(logs=logs, summed=summed, precision=precision, pull=pull)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One draw of all that the children share."""

    mu: float
    between: float
    """a^2, and s^2."""
    within: float

    def reward(self, seen: Scores | None, u: float, dice: Random) -> float:
        """What a child may bring next; without observations, what a new one may. The smaller u,
        the farther out it may be (Box and Muller).
        """
        n, mean = (0, 0.0) if seen is None else (seen.n, seen.mean)
        share = self.between / (n * self.between + self.within)
        location = self.mu + n * share * (mean - self.mu)
        variance = self.within * (1 + share)
        return location + math.cos(math.tau * dice.random()) * math.sqrt(variance * normal_square(u))

    def reach(self, kind: int) -> Similar:
        """Of a class of `count_class`."""
        least, most = fewest(kind), max(fewest(kind), fewest(kind + 1) - 1)
        share = self.between / (least * self.between + self.within)
        return Similar(
            mu=self.mu,
            low=least * share,
            high=most * self.between / (most * self.between + self.within),
            scale=math.sqrt(self.within * (1 + share)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Children of like counts, ranked by mean; whose means are believed from `low` to `high`."""

    mu: float
    low: float
    high: float
    scale: float

    def location(self, key: float) -> float:
        return self.mu + (self.high if key > self.mu else self.low) * (key - self.mu)

    def radius(self, u: float) -> float:
        return math.sqrt(normal_square(u))
