"""Conditions that `when` branches on, as values: `agreement() < 0.6` is a `Condition`, not a bool.

Knows the names of the metrics and how conditions are written; `metrics` knows how to measure them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ponder.runtime import InputError, unknown

METRICS = {
    "agreement": "share of the largest group of equal answers among all candidates",
    "certainty": "1 less the normalised entropy of groups of equal answers (Certaindex)",
    "best_score": "the highest verdict score; 0 where none was judged",
    "mean_score": "the mean verdict score of those judged; 0 where none was",
}
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WRITTEN = re.compile(r"\s*([A-Za-z_]+)\s*(?:\(\s*\))?\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A metric of the candidates so far, compared with a threshold in [0, 1]."""

    metric: str
    op: str
    threshold: float

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(unknown("metric", self.metric, METRICS))
        if self.op not in OPERATORS:
            raise InputError(f"comparison {self.op!r}; it must be one of {', '.join(OPERATORS)}")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold!r}; it must be in [0, 1]")

    def holds(self, value: float) -> bool:
        return OPERATORS[self.op](value, self.threshold)

    def __bool__(self) -> NoReturn:
        raise InputError(
            f"`{self!r}` is decided when the strategy runs, not now; give one comparison to "
            "when(...), without and, or, not or chains"
        )

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.threshold!r}"

    def __repr__(self) -> str:
        return f"{self.metric}() {self.op} {self.threshold!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number known once candidates are there; compare it to make a condition."""

    name: str

    def __lt__(self, threshold: float) -> Condition:
        return Condition(metric=self.name, op="<", threshold=threshold)

    def __le__(self, threshold: float) -> Condition:
        return Condition(metric=self.name, op="<=", threshold=threshold)

    def __gt__(self, threshold: float) -> Condition:
        return Condition(metric=self.name, op=">", threshold=threshold)

    def __ge__(self, threshold: float) -> Condition:
        return Condition(metric=self.name, op=">=", threshold=threshold)


def read_metric(text: str) -> Metric:
    """Raises `InputError` for a name that is none."""
    name = text.strip().removesuffix("()").strip()
    if name not in METRICS:
        raise InputError(unknown("metric", name, METRICS))
    return Metric(name=name)


def read_condition(text: str) -> Condition:
    """Parse `agreement < 0.6`.

    Raises:
        InputError: it is not `METRIC OP NUMBER`.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise InputError(f"condition {text!r} cannot be read; write it like 'agreement < 0.6'")
    metric, op, number = match.groups()
    try:
        threshold = float(number)
    except ValueError:
        raise InputError(f"{number!r} in condition {text!r} is not a number in [0, 1]") from None
    return Condition(metric=metric, op=op, threshold=threshold)
