"""The functions that strategies are written with: `sample(16) | vote()`.

Each only makes a value; settings are checked by the value itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.orchestrator.conditions import Condition, Metric
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.runtime import InputError
from ponder.strategies import Best, Judge, Sample, Strategy, Vote


def sample(
    n: int = 1,
    *,
    temperature: float = 0.8,
    top_p: float = 1.0,
    top_k: int | None = None,
    min_p: float = 0.0,
    max_tokens: int = 512,
    stop: str | Sequence[str] = (),
    confidence: int = 0,
    engine: str = "policy",
    name: str | None = None,
) -> Step:
    """Draw `n` complete attempts at the question.

    Args:
        n: attempts, at least 1.
        temperature: 0 is greedy.
        top_p: in (0, 1].
        top_k: None for all tokens.
        min_p: in [0, 1), relative to the likeliest token.
        max_tokens: of one attempt.
        stop: strings that end an attempt.
        confidence: of how many of the likeliest tokens confidence is told; 0 for none.
        engine: role of the engine that decodes.
        name: of the node; None for one made of the operation's.
    """
    strategy = Sample(
        n=n,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        confidence=confidence,
        engine=engine,
    )
    return Step(strategy=strategy, name=name)


def judge(
    verifier: str,
    keep: int | None = None,
    *,
    engine: str = "policy",
    aggregate: str | None = None,
    name: str | None = None,
) -> Step:
    """Score candidates with a verifier; pass on all, or the best `keep`.

    Args:
        verifier: name of one; of a step verifier where `aggregate` is given.
        keep: None for all.
        engine: role of the engine that it asks.
        aggregate: how step scores become one: last, min, prod, mean, or model (the whole is one
            step); None judges the whole.
        name: of the node; None for one made of the operation's.
    """
    strategy = Judge(verifier=verifier, keep=keep, engine=engine, aggregate=aggregate)
    return Step(strategy=strategy, name=name)


def vote(weights: str = "count", *, name: str | None = None) -> Step:
    """Answer with the largest group of equal answers, by "count", "judge" or "confidence"."""
    return Step(strategy=Vote(weights=weights), name=name)


def best(*, name: str | None = None) -> Step:
    """Answer with the highest-scored candidate."""
    return Step(strategy=Best(), name=name)


def best_of(
    n: int,
    judge: str = "likelihood",
    *,
    temperature: float = 0.8,
    top_p: float = 1.0,
    top_k: int | None = None,
    min_p: float = 0.0,
    max_tokens: int = 512,
    stop: str | Sequence[str] = (),
    confidence: int = 0,
    engine: str = "policy",
) -> Pipe:
    """`sample(n) | judge(judge) | best()`; "self_certainty" needs some `confidence` to read."""
    drawn = sample(
        n,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        max_tokens=max_tokens,
        stop=stop,
        confidence=confidence,
        engine=engine,
    )
    judged = Step(strategy=Judge(verifier=judge))
    return drawn | judged | best()


def step(strategy: Strategy, *, name: str | None = None) -> Step:
    """A method of your own as a step."""
    return Step(strategy=strategy, name=name)


def parallel(*parts: Expression, name: str | None = None) -> Parallel:
    """Run parts side by side and join their candidates."""
    return Parallel(parts=parts, name=name)


def when(
    condition: Condition, *, then: Expression, otherwise: Expression, name: str | None = None
) -> When:
    """Go one way or the other, once all candidates are there."""
    if not isinstance(condition, Condition):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise InputError(f"condition is {condition!r}; write a comparison like agreement() < 0.6")
    return When(condition=condition, then=then, otherwise=otherwise, name=name)


def agreement() -> Metric:
    """The share of the largest group of equal answers among all candidates."""
    return Metric(name="agreement")


def certainty() -> Metric:
    """1 less the normalised entropy of groups of equal answers (Certaindex, arXiv 2412.20993)."""
    return Metric(name="certainty")


def best_score() -> Metric:
    """The highest verdict score; 0 where none was judged."""
    return Metric(name="best_score")


def mean_score() -> Metric:
    """The mean verdict score of the candidates that were judged; 0 where none was."""
    return Metric(name="mean_score")
