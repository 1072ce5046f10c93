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
from ponder.strategies.search.largest import fewest

MEAN, SPREAD = 0.5, 0.2
BETWEEN, WITHIN = 0.2, 0.3
_CELLS = 8


def _half_normal(scale: float) -> list[float]:
    """The middles, by mass, of cells that share the prior equally."""
    middles = ((i + 0.5) / _CELLS for i in range(_CELLS))
    return [NormalDist(0.0, scale).inv_cdf((1 + p) / 2) for p in middles]


GRID = tuple(product(_half_normal(BETWEEN), _half_normal(WITHIN)))
"""(a, s)"""


_QUANTILE = NormalDist().inv_cdf
_LANE = 128
_TABLE, _FACTOR, _SHOWN = 52, 44, 32
"""Binary places: of terms by cell, of what they are multiplied by, and of sums when read: a lane's
upper half, which has room for a million children of one node.
"""
_ONE = 1 << _FACTOR
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
def _terms(n: int) -> tuple[int, int, int]:
    """Of a child of n observations, whose mean is N(mu, v = a^2 + s^2 / n): 1 / v, the same
    times one as `_fixed` has it, and what its density loses, twice its logarithm, whatever was
    seen; up to a constant.
    """
    v = [a * a + s * s / n for a, s in GRID]
    low, least = min(v), min(s for _, s in GRID)
    lost = [
        math.log(at / low) + 2 * (n - 1) * math.log(s / least)
        for at, (_, s) in zip(v, GRID, strict=True)
    ]
    inverse = _lanes([1 / at for at in v], _TABLE)
    return inverse, inverse << _FACTOR, _lanes(lost, _TABLE) << _FACTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The posterior, by cell; precision and pull of mu in a common unit."""

    summed: list[float]
    """Weights, up to a factor, accumulated."""
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

    def add(self, seen: Scores) -> None:
        precision, pull, misfit = _told(seen)
        self.precision += precision
        self.pull += pull
        self.misfit += misfit
        self._cells = None

    def remove(self, seen: Scores) -> None:
        """What was added."""
        precision, pull, misfit = _told(seen)
        self.precision -= precision
        self.pull -= pull
        self.misfit -= misfit
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


def _told(child: Scores) -> tuple[int, int, int]:
    """By a child, for each sum."""
    inverse, whole, lost = _terms(child.n)
    fit = inverse * _fixed(child.mean**2) + _SCATTER * _fixed(child.squares) + lost
    return whole, inverse * _fixed(child.mean), fit


def _fixed(value: float) -> int:
    return int(value * _ONE)


def _solved(precision: tuple[int, ...], pull: tuple[int, ...], misfit: tuple[int, ...]) -> Cells:
    fits = [q / p * q - e for p, q, e in zip(precision, pull, misfit, strict=True)]
    top, half = max(fits), math.ldexp(0.5, -_SHOWN)
    weights = [
        math.exp((f - top) * half) / math.sqrt(p) for f, p in zip(fits, precision, strict=True)
    ]
    return Cells(summed=list(accumulate(weights)), precision=precision, pull=pull)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One draw of all that the children share."""

    mu: float
    between: float
    """a^2, and s^2."""
    within: float

    def reward(self, seen: Scores | None, u: float) -> float:
        """What a child may bring next; without observations, what a new one may. Exceeded with
        probability `u`.
        """
        n, mean = (0, 0.0) if seen is None else (seen.n, seen.mean)
        share = self.between / (n * self.between + self.within)
        location = self.mu + n * share * (mean - self.mu)
        return location - math.sqrt(self.within * (1 + share)) * _QUANTILE(u)

    def reach(self, kind: int) -> Similar:
        """Of a class of `count_class`."""
        least, most = fewest(kind), max(fewest(kind), fewest(kind + 1) - 1)
        share = self.between / (least * self.between + self.within)
        other = self.between / (most * self.between + self.within)
        return Similar(
            mu=self.mu,
            low=least * share,
            high=most * other,
            scale=math.sqrt(self.within * (1 + share)),
            least=math.sqrt(self.within * (1 + other)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Children of like counts, ranked by mean; whose means are believed from `low` to `high`."""

    mu: float
    low: float
    high: float
    scale: float
    least: float
    """The smallest scale."""

    def location(self, key: float) -> float:
        return self.mu + (self.high if key > self.mu else self.low) * (key - self.mu)

    def offset(self, u: float) -> float:
        above = -_QUANTILE(u)
        return above * (self.scale if above > 0 else self.least)
