"""The functions that write adaptive compute: `adaptive_best_of(16, threshold=0.9) | best()`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Unpack

from ponder.orchestrator.conditions import Metric
from ponder.orchestrator.consistency import DrawingSettings
from ponder.orchestrator.expression import Expression, Step, When
from ponder.runtime import InputError
from ponder.strategies import AdaptiveBestOf, Pruned


def adaptive_best_of(
    most: int = 16,
    *,
    threshold: float = 0.9,
    verifier: str = "restart",
    verifier_engine: str | None = None,
    anneal: str = "none",
    lowest: float = 0.0,
    kappa: float = 2.0,
    platt: tuple[float, float] = (1.0, 0.0),
    parallel: int = 1,
    name: str | None = None,
    **drawing: Unpack[DrawingSettings],
) -> Step:
    """Draw and judge attempts until one scores at least `threshold`, or there are `most`."""
    strategy = AdaptiveBestOf(
        most=most,
        threshold=threshold,
        verifier=verifier,
        verifier_engine=verifier_engine,
        anneal=anneal,
        lowest=lowest,
        kappa=kappa,
        platt=platt,
        parallel=parallel,
        **drawing,
    )
    return Step(strategy=strategy, name=name)


def pruned(
    n: int = 16,
    *,
    at: tuple[int, ...] = (128, 256),
    keep: float = 0.5,
    verifier: str = "restart",
    name: str | None = None,
    **drawing: Unpack[DrawingSettings],
) -> Step:
    """Draw `n` attempts, and at each checkpoint go on with the best share of them."""
    return Step(strategy=Pruned(n=n, at=at, keep=keep, verifier=verifier, **drawing), name=name)


def route(
    by: Metric, bins: Sequence[float], arms: Sequence[Expression], *, name: str | None = None
) -> When:
    """Choose one of several ways by the bin that a metric of the candidates so far falls into: a
    `when` in the second way of a `when`, and so on (Snell et al., arXiv 2408.03314).

    Args:
        by: `mean_score()`, `agreement()` and the like.
        bins: their borders, rising, in [0, 1].
        arms: one more than borders: below the first border, from the first to below the second,
            and so on. An arm that takes the question starts from it again.
        name: of the first `when`.
    """
    if not isinstance(by, Metric):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise InputError(f"by is {by!r}; give a metric with its parentheses, such as mean_score()")
    if not bins or any(not a < b for a, b in pairwise(bins)):
        raise InputError(
            f"bins is {bins!r}; it must be at least 1 border, each above the one before"
        )
    if len(arms) != len(bins) + 1:
        raise InputError(
            f"{len(arms)} arms for {len(bins)} borders; give one arm more than borders: below the "
            "first, between two, and from the last on"
        )
    first, *rest = bins
    otherwise = arms[1] if not rest else route(by, rest, arms[1:])
    return When(condition=by < first, then=arms[0], otherwise=otherwise, name=name)
