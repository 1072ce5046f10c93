"""Cost at equal accuracy: what a method needs to be as often right as a best-of-N, over what that
best-of-N needs, with paired bootstrap intervals over items.

Between two budgets accuracy is taken to be straight in the logarithm of cost, which is tokens or
samples; a method's cost is that at which it first is that accurate. One that is so at its smallest
budget needs at most that, and one that never is has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.searching.efficiency import Point, Run
from ponder.evals import Interval, wilson

RESAMPLES = 1000
Floats = NDArray[np.float64]
Cost = Callable[[int, Run], float]
"""Of a run at a budget."""


def tokens(budget: int, run: Run) -> float:
    return run.tokens


def samples(budget: int, run: Run) -> float:
    """What the method calls its size: samples, width, particles."""
    return budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One point of a curve."""

    budget: int
    accuracy: float
    interval: Interval
    """Wilson, 95 %."""
    tokens: float
    """A question, on average; so are passes."""
    passes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Cost over the rival's, at the rival's accuracy."""

    median: float
    """As it is for all items; infinite where the accuracy is not reached."""
    low: float
    high: float
    """Of 95 % of the resamples."""
    bound: bool
    """The smallest budget is already as accurate: less might do."""

    def __str__(self) -> str:
        if math.isinf(self.median):
            return "not reached" + (f" [{self.low:.2f}, -]" if math.isfinite(self.low) else "")
        high = f"{self.high:.2f}" if math.isfinite(self.high) else "-"
        return f"{'<= ' if self.bound else ''}{self.median:.2f} [{self.low:.2f}, {high}]"


def curves(found: Mapping[Point, Sequence[Run]]) -> dict[str, list[Spot]]:
    """By line."""
    told: dict[str, list[Spot]] = {}
    for (name, budget), several in found.items():
        n, right = len(several), sum(run.right for run in several)
        spot = Spot(
            budget=budget,
            accuracy=right / n,
            interval=wilson(right, n),
            tokens=sum(run.tokens for run in several) / n,
            passes=sum(run.passes for run in several) / n,
        )
        told.setdefault(name, []).append(spot)
    return told


class Comparison:
    """Curves of all lines over the same resamples of items, of which the first is the items."""

    def __init__(self, found: Mapping[Point, Sequence[Run]], cost: Cost = tokens) -> None:
        n = len(next(iter(found.values())))
        drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
        self._items = np.vstack([np.arange(n), drawn])
        self._lines: dict[str, list[tuple[Floats, Floats]]] = {}
        self._budgets: dict[str, list[int]] = {}
        for (name, budget), several in found.items():
            right = np.array([run.right for run in several], float)[self._items].mean(axis=1)
            costs = [cost(budget, run) for run in several]
            spent = np.array(costs, float)[self._items].mean(axis=1)
            self._lines.setdefault(name, []).append((right, spent))
            self._budgets.setdefault(name, []).append(budget)

    def ratio(self, name: str, rival: str, size: int) -> Ratio:
        """Of a line to the rival at this budget."""
        target = self.accuracy(rival, size)
        ratios = self.needed(name, target) / self.needed(rival, target)
        low, high = np.quantile(ratios[1:], [0.025, 0.975], method="nearest")
        return Ratio(
            median=float(ratios[0]),
            low=float(low),
            high=float(high),
            bound=bool(self.least(name)[0][0] >= target[0]),
        )

    def accuracy(self, name: str, size: int) -> Floats:
        """By resample; so are all of these."""
        return self._lines[name][self._budgets[name].index(size)][0]

    def least(self, name: str) -> tuple[Floats, Floats]:
        """Accuracy and cost at the smallest budget."""
        return self._lines[name][0]

    def most(self, name: str) -> tuple[Floats, Floats]:
        """The same at the largest."""
        return self._lines[name][-1]

    def needed(self, name: str, target: Floats) -> Floats:
        """Cost at which the line first is this accurate; infinite where it never is."""
        points = self._lines[name]
        right, spent = (np.array(values) for values in zip(*points, strict=True))
        order = np.argsort(spent[:, 0])
        return np.array(
            [crossing(right[order, i], spent[order, i], target[i]) for i in range(len(self._items))]
        )


def crossing(right: Floats, spent: Floats, target: float) -> float:
    """Cost at which a curve first is at `target`; infinite where it never is."""
    reached = np.flatnonzero(right >= target)
    if not len(reached):
        return math.inf
    at = int(reached[0])
    if at == 0:
        return float(spent[0])
    share = (target - right[at - 1]) / (right[at] - right[at - 1])
    low, high = np.log(spent[at - 1 : at + 1])
    return float(np.exp(low + share * (high - low)))
