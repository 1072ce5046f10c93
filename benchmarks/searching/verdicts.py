"""The floors of the design for searches (section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.floors import spread
from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import Row
from benchmarks.overhead.verdicts import Verdict
from benchmarks.searching.bookkeeping import SIZES, label
from benchmarks.searching.equal import Ratio
from benchmarks.searching.methods import METHODS

MOST_MICROSECONDS, MOST_GROWTH, MOST_SHARE = 50.0, 2.0, 1 / 3
EFFICIENT = ("rebase", "astar, rise", "astar, drop")


def verdicts(rows: Sequence[Row], ratios: Mapping[str, Ratio]) -> list[Verdict]:
    """`ratios` by line, to the best-of-N that the floor names."""
    return [
        *(_flat(rows, method.name) for method in METHODS),
        _no_repeats(rows),
        *(_efficient(name, ratios.get(name)) for name in EFFICIENT),
    ]


def _flat(rows: Sequence[Row], name: str) -> Verdict:
    floor = f"bookkeeping of {name}: at most {MOST_MICROSECONDS:.0f} us a node, flat"
    found = next((row.numbers for row in rows if row.case == f"{name}, core"), {})
    if label(SIZES[-1]) not in found:
        return Verdict(floor=floor, found="not measured", met=None)
    costs = [spread(found[label(size)]).median for size in SIZES]
    growth = costs[-1] / costs[0]
    return Verdict(
        floor=floor,
        found=f"{costs[-1]:.1f} us at {SIZES[-1]:,} nodes, {growth:.1f} times that at {SIZES[0]}",
        met=costs[-1] <= MOST_MICROSECONDS and growth <= MOST_GROWTH,
    )


def _no_repeats(rows: Sequence[Row]) -> Verdict:
    floor = "no prefix token is prefilled twice on the own engine"
    ours = [row for row in rows if row.metric == "prefill" and row.contender == OWN]
    if not ours:
        return Verdict(floor=floor, found="not measured", met=None)
    wrong = {row.case: max(row.numbers["repeated"]) for row in ours if max(row.numbers["repeated"])}
    found = f"{len(ours) - len(wrong)} of {len(ours)} cases"
    more = [f"{case}: {count:.0f}" for case, count in wrong.items()]
    return Verdict(floor=floor, found="; ".join([found, *more]), met=not wrong)


def _efficient(name: str, ratio: Ratio | None) -> Verdict:
    floor = f"{name}: at most 1/3 of the tokens of best of 64 by the last score, equal accuracy"
    if ratio is None:
        return Verdict(floor=floor, found="not measured", met=None)
    return Verdict(floor=floor, found=str(ratio), met=ratio.median <= MOST_SHARE)
