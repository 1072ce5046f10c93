"""Journals: what a branch's KV is computed from, and all that is needed to compute it again.

A plain journal is a list of tokens. Where KV was kept across an edit, tokens alone do not determine
it: there the journal has a past, made of pieces cut out of other journals' KV, as they were then. A
splice takes two pieces of the branch's own journal, a join takes other branches' tails. Forks share
pasts, which never change. Knows no pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Self

import numpy as np

from ponder.runtime.runners.api import Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """KV of tokens `start` to `stop` of a source, read `shift` positions further on."""

    source: Source
    start: int
    stop: int
    shift: int = 0

    @property
    def whole_head(self) -> bool:
        """Whether it is a source's beginning, as it was there."""
        return not self.start and not self.shift


class Past:
    """Pieces one behind the other. Immutable."""

    __slots__ = ("pieces", "plain", "positions", "tokens")

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces = tuple(piece for piece in pieces if piece.start < piece.stop)
        self.tokens = tuple(
            chain.from_iterable(p.source.tokens[p.start : p.stop] for p in self.pieces)
        )
        self.positions: Ints = np.concatenate(
            [
                np.empty(0, np.int64),
                *(p.source.positions[p.start : p.stop] + p.shift for p in self.pieces),
            ]
        )
        first = self.pieces[0] if self.pieces else None
        head = first is not None and first.whole_head
        self.plain: int = min(first.stop, first.source.plain) if first and head else 0
        """Leading tokens whose KV depends on the tokens alone."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def end(self) -> int:
        """The position behind all tokens."""
        return int(self.positions.max()) + 1 if len(self.positions) else 0

    def cut(self, length: int) -> Past:
        """Its first tokens; a beginning of one source is that source's own past."""
        if length >= len(self):
            return self
        pieces: list[Piece] = []
        for piece in self.pieces:
            size = min(piece.stop - piece.start, max(0, length))
            pieces.append(replace(piece, stop=piece.start + size))
            length -= size
        past = Past(pieces)
        if len(past.pieces) == 1 and past.pieces[0].whole_head:
            only = past.pieces[0]
            return only.source.past.cut(only.stop)
        return past


class Source:
    """A journal as it was when something was cut out of it."""

    __slots__ = ("past", "plain", "positions", "tokens")

    def __init__(self, past: Past, tokens: Sequence[int]) -> None:
        self.past = past
        self.tokens = tuple(tokens)
        """All of them, the past's first."""
        fresh = len(self.tokens) - len(past)
        self.positions: Ints = np.concatenate(
            [past.positions, np.arange(past.end, past.end + fresh)]
        )
        self.plain: int = len(self.tokens) if past.plain == len(past) else past.plain


class Journal:
    """A past and the tokens after it, at least one of them: the last token's KV is never kept."""

    __slots__ = ("own", "past", "tokens")

    def __init__(self, past: Past, tokens: Iterable[int], own: int) -> None:
        self.past = past
        self.tokens = list(tokens)
        """All of them, the past's first."""
        self.own = own
        """Where the branch's own tail starts: tokens it had when it was forked."""

    @classmethod
    def of(cls, tokens: Iterable[int], own: int = 0) -> Self:
        return cls(Past(), tokens, own)

    @property
    def tail(self) -> list[int]:
        return self.tokens[self.own :]

    @property
    def end(self) -> int:
        """The position of the next token."""
        return self.past.end + len(self.tokens) - len(self.past)

    @property
    def plain(self) -> int:
        """Leading tokens whose KV depends on the tokens alone."""
        return len(self.tokens) if self.past.plain == len(self.past) else self.past.plain

    def copy(self) -> Journal:
        return Journal(self.past, self.tokens, self.own)

    def fork(self) -> Journal:
        return Journal(self.past, self.tokens, len(self.tokens))

    def freeze(self, length: int) -> Source:
        """Its first tokens, the past's at least."""
        return Source(self.past, self.tokens[:length])

    def truncate(self, length: int) -> None:
        del self.tokens[length:]
        self.past = self.past.cut(max(0, length - 1))
        self.own = min(self.own, length)
