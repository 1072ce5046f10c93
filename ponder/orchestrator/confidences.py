"""The functions that write DeepConf: `sample(16, confidence=20) | confident(keep=0.1)` on attempts
that are there, `deepconf(most=64)` while they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.orchestrator.expression import Step
from ponder.strategies import Confident, DeepConf


def confident(
    keep: float = 1.0,
    *,
    measure: str = "mean",
    window: int = 2048,
    name: str | None = None,
) -> Step:
    """Keep the share of candidates that the model was most confident of.

    Args:
        keep: share, in (0, 1].
        measure: "mean", "lowest", "bottom" or "tail", of groups of `window` tokens.
        window: tokens.
        name: of the node.
    """
    return Step(strategy=Confident(keep=keep, measure=measure, window=window), name=name)


def deepconf(
    warmup: int = 16,
    *,
    most: int = 256,
    eta: float = 10.0,
    window: int = 2048,
    consensus: float = 0.95,
    confidence: int = 20,
    chunk: int = 64,
    parallel: int = 16,
    temperature: float = 0.6,
    top_p: float = 0.95,
    top_k: int | None = None,
    min_p: float = 0.0,
    max_tokens: int = 512,
    stop: str | Sequence[str] = (),
    engine: str = "policy",
    name: str | None = None,
) -> Step:
    """Draw attempts, end those that lose confidence, and stop at a consensus; settings are those of
    `ponder.strategies.DeepConf`, which says what they mean.
    """
    strategy = DeepConf(
        warmup=warmup,
        most=most,
        eta=eta,
        window=window,
        consensus=consensus,
        confidence=confidence,
        chunk=chunk,
        parallel=parallel,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        engine=engine,
    )
    return Step(strategy=strategy, name=name)
