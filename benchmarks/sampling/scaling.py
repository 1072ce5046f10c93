"""The scaling rate: how many times fewer samples a method needs than a rival, to be as often right.

The source measures it in samples (Puri et al., arXiv 2502.01618; dossier S 2.5): DVTS with 32 is as
often right as the particle filter with 8, a rate of 4. The accuracy may be one that the rival has
(what does its budget buy?) or one that the method has, as in that example; both are cuts through
the same two curves at one height. Where a curve ends before it is that high, its last budget stands
for what it would have needed, so that the rate is a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.searching.equal import Comparison, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The rival's cost over the method's, at one accuracy."""

    value: float
    """For all items."""
    low: float
    high: float
    """Of 95 % of the resamples, cut where curves end."""
    bound: str = ""
    """">=" or "<=" where a curve does not reach the accuracy, or is above it from its start; "?"
    where both do.
    """

    def __str__(self) -> str:
        sign = f"{self.bound} " if self.bound else ""
        return f"{sign}{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


def rate(costs: Comparison, name: str, rival: str, target: Floats) -> Rate:
    """Of a method beside its rival at an accuracy, given by resample."""
    ours, beyond, before = _needed(costs, name, target)
    theirs, lost, started = _needed(costs, rival, target)
    rates = theirs / ours
    low, high = np.quantile(rates[1:], [0.025, 0.975], method="nearest")
    return Rate(
        value=float(rates[0]),
        low=float(low),
        high=float(high),
        bound=_bound(more=lost or before, less=beyond or started),
    )


def _needed(costs: Comparison, name: str, target: Floats) -> tuple[Floats, bool, bool]:
    """Cost by resample, at most that of the largest budget; for all items, whether it is cut so,
    and whether less might do.
    """
    needed = costs.needed(name, target)
    cut = np.minimum(needed, costs.most(name)[1])
    return cut, math.isinf(needed[0]), bool(costs.least(name)[0][0] >= target[0])


def _bound(*, more: bool, less: bool) -> str:
    if more and less:
        return "?"
    return ">=" if more else "<=" if less else ""
