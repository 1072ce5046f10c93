"""Accuracy against samples and against tokens on the calibrated oracle of `benchmarks/searching`,
and scaling rates of the particle filter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.overhead.verdicts import Verdict
from benchmarks.sampling.lines import FILTER, RIVALS, populations
from benchmarks.sampling.scaling import Rate, rate
from benchmarks.sampling.table import Given, Table
from benchmarks.searching.efficiency import Point, Run, Setting, runs
from benchmarks.searching.equal import Comparison, Spot, curves, samples, tokens
from benchmarks.searching.oracle import Oracle
from benchmarks.searching.report import draw, panel

AUCS = (0.9, 0.7)
"""Of the reward model's scores of single steps. The floor is held to the first, as in
`benchmarks/search.py`.
"""
RIVAL_SIZES, OWN_SIZES = (16, 64), (4, 8)
"""Budgets that accuracies are taken from: the rival's, and the particle filter's."""
LEAST_RATE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    setting: Setting
    runs: Mapping[Point, Sequence[Run]]
    curves: Mapping[str, Sequence[Spot]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An accuracy."""

    accuracy: float
    low: float
    high: float
    """Wilson, 95 %."""

    def __str__(self) -> str:
        return f"{self.accuracy:.0%} [{self.low:.0%}, {self.high:.0%}]"


def tables(given: Given) -> Iterator[Table]:
    found = [measured(setting) for setting in settings(given)]
    for place, each in enumerate(found):
        yield _accuracies(each)
        yield _tokens(each)
        yield _rates(each, floors=place == 0)
    if given.picture is not None:
        panels = [
            panel(f"{each.setting.name}, by {x}", each.curves, key)
            for each in found
            for key, x in (("budget", "samples"), ("tokens", "tokens"))
        ]
        print(draw(panels, given.picture), file=sys.stderr)


def settings(given: Given) -> list[Setting]:
    """Fixed before any result was seen."""
    items, most = (4, 8) if given.quick else (given.items, None)
    return [
        Setting(oracle=Oracle(name=f"AUC {auc}", auc=auc), items=items, most=most)
        for auc in AUCS[: 1 if given.quick else None]
    ]


def measured(setting: Setting) -> Measured:
    found = runs(setting, populations)
    return Measured(setting=setting, runs=found, curves=curves(found))


def _accuracies(each: Measured) -> Table:
    oracle = each.setting.oracle
    rows = [
        (
            name,
            [
                Cell(accuracy=spot.accuracy, low=spot.interval.low, high=spot.interval.high)
                for spot in spots
            ],
        )
        for name, spots in each.curves.items()
    ]
    return Table(
        title=f"{oracle.name}: right answers by samples or particles",
        columns=_budgets(each),
        rows=rows,
        notes=[
            f"{each.setting.items} items of {oracle.depth} steps, p of a step "
            f"Beta({oracle.alpha:g}, {oracle.beta:g}), one sample right {oracle.once:.1%}; noise "
            f"{oracle.noise:.3f}; Wilson intervals; particles vote by their weights"
        ],
    )


def _tokens(each: Measured) -> Table:
    rows = [(name, [spot.tokens for spot in spots]) for name, spots in each.curves.items()]
    return Table(
        title=f"{each.setting.name}: policy tokens a question", columns=_budgets(each), rows=rows
    )


def _budgets(each: Measured) -> list[str]:
    return [str(spot.budget) for spot in next(iter(each.curves.values()))]


def _rates(each: Measured, *, floors: bool) -> Table:
    """Of the particle filter over its rivals."""
    counted = {"samples": Comparison(each.runs, samples), "tokens": Comparison(each.runs, tokens)}
    sizes = {spot.budget for spot in each.curves[FILTER]}
    theirs = [size for size in RIVAL_SIZES if size in sizes] or [max(sizes)]
    ours = [size for size in OWN_SIZES if size in sizes]
    columns = [
        f"{unit}, as {who} {size}"
        for unit in counted
        for who, known in (("rival's", theirs), ("filter's", ours))
        for size in known
    ]
    rows = [
        (
            rival,
            [
                rate(costs, FILTER, rival, costs.accuracy(whose, size))
                for costs in counted.values()
                for whose, known in ((rival, theirs), (FILTER, ours))
                for size in known
            ],
        )
        for rival in RIVALS
    ]
    return Table(
        title=f"{each.setting.name}: scaling rate of particles, rival's need over theirs",
        columns=columns,
        rows=rows,
        notes=["accuracies are the rival's or the filter's at that budget; paired bootstrap, 95 %"],
        floors=[*_verdicts(rows, columns)] if floors else [],
    )


def _verdicts(
    rows: Sequence[tuple[str, Sequence[Rate]]], columns: Sequence[str]
) -> Iterator[Verdict]:
    """The design's baseline is best of N; the source's, deterministic searches."""
    largest = f"samples, as rival's {RIVAL_SIZES[-1]}"
    for rival, rates in rows:
        floor = f"particle filter: at least {LEAST_RATE:g} times the scaling rate of {rival}"
        if largest not in columns:
            yield Verdict(floor=floor, found="not measured", met=None)
            continue
        found = rates[columns.index(largest)]
        met = found.value >= LEAST_RATE and found.bound in ("", ">=")
        yield Verdict(floor=floor, found=f"{found}, {largest}", met=met)
