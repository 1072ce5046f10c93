"""What a branch refuses before any work is done, in words: what was asked, what is allowed, what to
do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from ponder.runtime.engine.journal import Journal
from ponder.runtime.errors import (
    CapabilityError,
    ContextOverflow,
    InputError,
    PoolExhausted,
    unknown,
)
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.runners.api import PAGE
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Pooling, SpliceMode


def check_span(path: BranchPath, start: int, stop: int, length: int) -> None:
    """Raises `InputError` unless there are tokens from `start` to `stop`."""
    if not 0 <= start < stop <= length:
        raise InputError(
            f"tokens {start!r} to {stop!r} of branch {path}, which has {length}; give 0 <= start < "
            f"stop <= {length}"
        )


def check_rewind(to: int, length: int) -> None:
    if not 1 <= to <= length:
        raise InputError(f"rewind to {to!r} tokens; it must be 1 to {length}, all it has")


def check_plain(path: BranchPath, journal: Journal, *, live: bool) -> None:
    """Raises `InputError` where KV depends on more than tokens."""
    if live or journal.plain < len(journal.tokens):
        raise InputError(
            f"branch {path} shares others, or kept KV across an edit, so its tokens alone do not "
            "define it; edit with mode REENCODE, and share nobody, where it is to be opened again"
        )


def check_pooling(pooling: str) -> None:
    if pooling not in get_args(Pooling):
        raise InputError(unknown("pooling", pooling, get_args(Pooling)))


def check_room(action: str, more: int, length: int, context: int) -> None:
    """One place must stay free for a token to draw."""
    if more >= context - length:
        raise ContextOverflow(
            f"{action} {more} tokens to {length} leaves no room in a context of {context}: shorten "
            "one of them"
        )


def check_positions(action: str, end: int, now: int, context: int) -> None:
    """As `check_room`, of an edit: there may be gaps, and fewer positions than before."""
    if end >= context and end > now:
        raise ContextOverflow(
            f"{action}, which makes {end} positions of {now}, leaves no room in a context of "
            f"{context}: shorten one of them"
        )


def check_mode(engine: str, mode: SpliceMode, modes: frozenset[SpliceMode]) -> None:
    if mode not in modes:
        raise CapabilityError(
            f"engine {engine!r} cannot keep KV across an edit (mode {mode.name}); use mode "
            "REENCODE, or an engine that can (kernels='torch')"
        )


def check_live_views(engine: str, live_views: bool) -> None:
    if not live_views:
        raise CapabilityError(
            f"engine {engine!r} has no live views; use one that has them (kernels='torch'), or "
            "append what others said"
        )


def check_speaks(action: str, config: ModelConfig, heads: Iterable[str]) -> None:
    """Raises `CapabilityError` where the model has no logits."""
    if not config.language_head:
        raise CapabilityError(
            f"cannot {action} a branch of a model with no head over the vocabulary, only "
            f"{', '.join(map(repr, heads))}: read one of these, or open a language model"
        )


def no_pages(needed: int, there: int, pinned: int) -> PoolExhausted:
    others = f", {pinned} branches of it pinned or sharing" if pinned else ""
    return PoolExhausted(
        f"one branch needs {needed} or more KV pages of {PAGE} tokens; the pool has "
        f"{there}{others}: open the engine with more pages, or shorten the branch"
    )


def too_many_seen(positions: int, context: int) -> ContextOverflow:
    return ContextOverflow(
        f"with what it sees of others the branch has {positions} positions; the model holds "
        f"{context}: share fewer or shorter branches"
    )
