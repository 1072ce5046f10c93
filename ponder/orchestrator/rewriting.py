"""The same expression with other steps in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step


def rewritten(part: Expression, change: Callable[[Step], Step]) -> Expression:
    """Every step changed; what joins them stays."""
    if isinstance(part, Step):
        return change(part)
    if isinstance(part, Pipe):
        return Pipe(parts=tuple(rewritten(p, change) for p in part.parts))
    if isinstance(part, Parallel):
        return replace(part, parts=tuple(rewritten(p, change) for p in part.parts))
    then, otherwise = rewritten(part.then, change), rewritten(part.otherwise, change)
    return replace(part, then=then, otherwise=otherwise)
