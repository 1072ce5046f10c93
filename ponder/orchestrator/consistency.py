"""The functions that write self-consistency beyond `sample(n) | vote()`: sampling that stops by
itself, as in `adaptive_consistency() | vote()`, and other ways to find what candidates agree on.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from ponder.orchestrator.expression import Step
from ponder.strategies import AdaptiveConsistency, EarlyStopping, MinimumBayesRisk, Universal


class DrawingSettings(TypedDict, total=False):
    """How attempts are drawn; `ponder.strategies.Sample` says what it means."""

    temperature: float
    top_p: float
    top_k: int | None
    min_p: float
    max_tokens: int
    stop: tuple[str, ...]
    engine: str


def adaptive_consistency(
    most: int = 40,
    *,
    rule: str = "beta",
    threshold: float | None = None,
    parallel: int = 1,
    name: str | None = None,
    **drawing: Unpack[DrawingSettings],
) -> Step:
    """Draw attempts until their answers settle by `rule`: beta, dirichlet, entropy, share, lead."""
    strategy = AdaptiveConsistency(
        most=most, rule=rule, threshold=threshold, parallel=parallel, **drawing
    )
    return Step(strategy=strategy, name=name)


def early_stopping(
    window: int = 5,
    *,
    most: int = 40,
    name: str | None = None,
    **drawing: Unpack[DrawingSettings],
) -> Step:
    """Draw windows of attempts until all answers of one window agree."""
    return Step(strategy=EarlyStopping(window=window, most=most, **drawing), name=name)


def universal(
    engine: str = "policy",
    *,
    shown: int = 8000,
    max_tokens: int = 256,
    name: str | None = None,
) -> Step:
    """Answer with the candidate that a model finds most consistent with the others."""
    strategy = Universal(engine=engine, shown=shown, max_tokens=max_tokens)
    return Step(strategy=strategy, name=name)


def mbr(utility: str = "answer", *, weights: str = "count", name: str | None = None) -> Step:
    """Answer with the candidate closest to all on average, by "answer", "rouge1" or "rougeL"."""
    return Step(strategy=MinimumBayesRisk(utility=utility, weights=weights), name=name)
