"""The floors of the design that the orchestration benchmark checks (section 6, and issue text)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.floors import spread
from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import SIZES, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    floor: str
    found: str
    met: bool | None
    """None where it was not measured."""


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    return [
        _most(rows, "alone", "scripted engine", "cpu ms a decode", 0.2, "orchestration itself"),
        _most(rows, "cpu", "n honoured", "cpu ms a sample", 0.2, "whole client, n honoured"),
        _most(
            rows,
            "cpu",
            "one sample a request",
            "cpu ms a request",
            0.2,
            "whole client, one sample a request",
        ),
        _one_pool(rows),
        _no_hang(rows),
        _accounts(rows),
    ]


def median(row: Row, number: str) -> float:
    return spread(row.numbers[number]).median


def own(rows: Sequence[Row], metric: str) -> Iterator[Row]:
    return (row for row in rows if row.metric == metric and row.contender.startswith(OWN))


def _most(
    rows: Sequence[Row], metric: str, case: str, number: str, most: float, what: str
) -> Verdict:
    floor = f"{what}: {number} at most {most}"
    for row in own(rows, metric):
        if row.case == case and row.numbers:
            value = median(row, number)
            return Verdict(floor=floor, found=f"{value:.3f}", met=value <= most)
    return Verdict(floor=floor, found="not measured", met=None)


def _one_pool(rows: Sequence[Row]) -> Verdict:
    floor = "one pool: no more connections than requests were in flight at once"
    return _all(
        floor,
        list(own(rows, "flight")),
        lambda row: median(row, "connections") <= median(row, "most in flight"),
    )


def _no_hang(rows: Sequence[Row]) -> Verdict:
    floor = f"no hang at N = {', '.join(map(str, SIZES))}, by name and by address"
    return _all(floor, list(own(rows, "flight")), lambda row: min(row.numbers["answered"]) == 1)


def _accounts(rows: Sequence[Row]) -> Verdict:
    floor = "tokens told / true is 1, with and without a judge"
    found = list(own(rows, "counted"))
    return _all(floor, found, lambda row: set(row.numbers.get("told / true", [])) == {1.0})


def _all(floor: str, rows: Sequence[Row], holds: Callable[[Row], bool]) -> Verdict:
    if not rows:
        return Verdict(floor=floor, found="not measured", met=None)
    wrong = [f"{row.case} {row.note}" for row in rows if not row.numbers or not holds(row)]
    found = f"{len(rows) - len(wrong)} of {len(rows)} cases"
    return Verdict(floor=floor, found="; ".join([found, *wrong]), met=not wrong)
