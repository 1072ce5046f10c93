"""One number for a path from the scores of its steps (dossier S 0.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ponder.runtime import InputError, unknown

AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda scores: math.fsum(scores) / len(scores),
    # The verifier reads the path as a single step, so its newest score is of the whole.
    "model": lambda scores: scores[-1],
}


def check_aggregation(name: str) -> None:
    if name not in AGGREGATIONS:
        raise InputError(unknown("aggregation", name, AGGREGATIONS))


def aggregate(name: str, scores: Sequence[float]) -> float | None:
    """In [0, 1]; None where there is no score."""
    return AGGREGATIONS[name](scores) if scores else None
