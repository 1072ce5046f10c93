"""Token confidence in strategies: what they ask an engine for, and what a candidate's weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ponder.runtime import Engine, InputError, Sampling
from ponder.verifiers import MEASURES, WINDOW, Candidate, TokenConfidence, attempt_confidence


def available(params: Sampling, engine: Engine) -> Sampling:
    """Confidence of as many tokens as the engine tells of, where more were asked for."""
    k = min(params.confidence, engine.capabilities.confidence)
    return replace(params, confidence=k)


def needed(params: Sampling) -> frozenset[str]:
    """Capabilities of an engine that draws so."""
    asked = {
        "top_k": params.top_k is not None,
        "min_p": params.min_p > 0,
        "confidence": params.confidence > 0,
    }
    return frozenset(name for name, used in asked.items() if used)


def told(k: int, values: Sequence[float]) -> TokenConfidence | None:
    """What a candidate keeps; nothing where nothing was asked for."""
    return TokenConfidence(k=k, values=tuple(values)) if k else None


def measure(candidate: Candidate, name: str, window: int) -> float:
    """Nats; 0, which is less than any other, of a candidate without a token.

    Raises:
        InputError: nobody asked for its tokens' confidence.
    """
    kept = candidate.token_confidence
    if kept is not None:
        return attempt_confidence(kept.values, name, window)
    if not candidate.usage.decoded:
        return 0.0
    raise InputError(
        f"candidate {candidate.index} of {candidate.source!r} came without token confidence; ask "
        "for it where it is made, as in sample(16, confidence=20)"
    )


def measured(candidate: Candidate) -> float:
    """What its vote weighs by confidence. Raises as `measure` does."""
    if candidate.measured is not None:
        return candidate.measured
    return measure(candidate, "mean", WINDOW)


def check_measure(name: str, window: int) -> None:
    if name not in MEASURES:
        raise InputError(f"measure is {name!r}; it must be one of {', '.join(MEASURES)}")
    check_window(window)


def check_window(window: int) -> None:
    if window < 1:
        raise InputError(f"window is {window!r}; it must be at least 1 token")
