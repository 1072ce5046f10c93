"""Weights in log space, and from a verifier's score to a log-weight (dossier S 0.4, S 0.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ponder.runtime import InputError, unknown

_EDGE = 1e-7


def log_sum(logs: Sequence[float]) -> float:
    """Log of the sum of exp; -inf for none."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(x - top) for x in logs))


def log_mean(logs: Sequence[float]) -> float:
    """Log of the mean of exp; -inf for none."""
    return log_sum(logs) - math.log(len(logs)) if logs else -math.inf


def shares(logs: Sequence[float]) -> list[float]:
    """Normalised weights; empty where all weights are zero, which nothing can be normalised by."""
    total = log_sum(logs)
    return [] if total == -math.inf else [math.exp(x - total) for x in logs]


def effective(logs: Sequence[float]) -> float:
    """The effective sample size, 1 / sum of squared shares: in [1, n]; 0 where all are zero."""
    found = shares(logs)
    return 1 / math.fsum(w * w for w in found) if found else 0.0


def _log(score: float) -> float:
    return math.log(score) if score > 0 else -math.inf


def _logit(score: float) -> float:
    inside = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(inside) - math.log1p(-inside)


SCALES: dict[str, Callable[[float], float]] = {
    "log": _log,
    "logit": _logit,
    "raw": lambda score: score,
}
"""Log-weight of a score in [0, 1]. "log": the weight is the score, the likelihood of a step that is
right with that probability. "logit": its odds, as the source's code has it; the score is kept 1e-7
from 0 and 1. "raw": exp of it, as the source prints it (Puri et al., arXiv 2502.01618).
"""


def check_scale(name: str) -> None:
    if name not in SCALES:
        raise InputError(unknown("scale", name, SCALES))
