"""The step as plain integer arrays: which tokens at which positions, where their KV is written, and
which rows attend to which places.

Attention is a list of blocks, each a rectangle of rows times places; a row may be in several blocks
that share nothing, and its partial results merge exactly. A run of places that many branches share
is one block for all of them, so it is read once (Hydragen, arXiv 2402.05099; DeFT, arXiv
2404.00242). One plan serves all layers, and any kernel. Knows no tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ponder.runtime.runners.api import Ints, Slots, Work

WORTH = 256
"""Places times saved readers below which a shared run is read by each row for itself: a block costs
about ten dispatches a layer.
"""
KEYS = 2048
"""Most places in one block of a chunk; bounds the memory of its scores."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Rows that attend to places: item b's rows all look at item b's places."""

    rows: Ints
    """[items, queries]; -1 is padding."""
    slots: Ints
    """[items, places], padded with a place of the item's own."""
    limits: Ints
    """[items, queries]: a row sees the places before its limit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepPlan:
    tokens: Ints
    """[rows]"""
    positions: Ints
    """[rows]"""
    writes: Ints
    """[rows]: the place of each row's own KV, filled in a layer before anybody attends there."""
    blocks: tuple[Block, ...]
    merge: Ints
    """[rows, parts]: where a row's partial results lie among those of all blocks, flattened in
    order; past the end where it has fewer.
    """
    wanted: Ints
    """[rows that need logits]"""


def make_plan(works: Sequence[Work]) -> StepPlan:
    """Lay the rows of all works out in order and find what they share."""
    counts = np.asarray([len(work.tokens) for work in works], np.int64)
    ends = np.cumsum(counts)
    placed = [_Placed(w, int(end - n)) for w, end, n in zip(works, ends, counts, strict=True)]
    blocks = tuple(_Grouping(placed).blocks())
    return StepPlan(
        tokens=np.asarray([token for work in works for token in work.tokens], np.int64),
        positions=np.asarray([p for w in works for p in range(w.past, len(w.slots))], np.int64),
        writes=np.concatenate([work.slots[work.past :] for work in works]),
        blocks=blocks,
        merge=_merge_table(blocks, int(ends[-1])),
        wanted=np.asarray(
            [
                row
                for work, end in zip(works, ends, strict=True)
                for row in range(end - work.wanted, end)
            ],
            np.int64,
        ),
    )


def common(a: Ints, b: Ints) -> int:
    """Length of the longest common prefix."""
    shorter = min(len(a), len(b))
    different = a[:shorter] != b[:shorter]
    first = int(different.argmax()) if shorter else 0
    return first if shorter and different[first] else shorter


class _Placed:
    """A work whose rows start at `row`; places before `start` are already covered by blocks."""

    __slots__ = ("past", "row", "start", "work")

    def __init__(self, work: Work, row: int) -> None:
        self.work = work
        self.row = row
        self.past = work.slots[: work.past]
        self.start = 0

    @property
    def rows(self) -> Ints:
        return np.arange(self.row, self.row + len(self.work.tokens))


class _Grouping:
    """Walks the trie of the works' places and cuts it into blocks."""

    def __init__(self, works: Sequence[_Placed]) -> None:
        self._works = works
        self._shared: list[Block] = []

    def blocks(self) -> Iterable[Block]:
        self._share(list(self._works), 0)
        yield from self._shared
        yield from _pack([piece for work in self._works for piece in _own(work)])

    def _share(self, works: list[_Placed], depth: int) -> None:
        """Emit what these works, equal up to `depth`, have in common, then part them."""
        stack = [(works, depth)]
        while stack:
            group, depth = stack.pop()
            for part in _partition(group, depth):
                if len(part) > 1:
                    end = _common(part, depth)
                    self._emit(part, end)
                    stack.append((part, end))

    def _emit(self, group: list[_Placed], end: int) -> None:
        start = group[0].start
        if (end - start) * (len(group) - 1) < WORTH:
            return
        rows = np.concatenate([work.rows for work in group])
        for low in range(start, end, KEYS):
            slots = group[0].past[low : min(low + KEYS, end)]
            self._shared.append(
                Block(
                    rows=rows[None],
                    slots=slots[None],
                    limits=np.full((1, len(rows)), len(slots)),
                )
            )
        for work in group:
            work.start = end


def _partition(group: Iterable[_Placed], depth: int) -> list[list[_Placed]]:
    """By the place at `depth`; works that end there share no more."""
    parts: dict[int, list[_Placed]] = {}
    for work in group:
        if len(work.past) > depth:
            parts.setdefault(int(work.past[depth]), []).append(work)
    return list(parts.values())


def _common(group: Sequence[_Placed], depth: int) -> int:
    first = group[0].past[depth:]
    for work in group[1:]:
        first = first[: common(first, work.past[depth:])]
    return depth + len(first)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    rows: Ints
    slots: Slots
    limits: Ints


def _own(placed: _Placed) -> Iterable[_Piece]:
    """What no other work reads with it: the rest of its past, and its own new rows, causally."""
    work, rows = placed.work, placed.rows
    size = len(work.slots) if len(rows) == 1 else KEYS
    for low in range(placed.start, len(work.slots), size):
        slots = work.slots[low : low + size]
        limits = np.clip(np.arange(work.past + 1, len(work.slots) + 1) - low, 0, len(slots))
        yield _Piece(rows=rows, slots=slots, limits=limits)


def _pack(pieces: Iterable[_Piece]) -> Iterable[Block]:
    """Pieces of like size side by side, so that padding at most doubles either side."""
    sizes: dict[tuple[int, int], list[_Piece]] = {}
    for piece in pieces:
        key = (len(piece.rows).bit_length(), max(len(piece.slots), 32).bit_length())
        sizes.setdefault(key, []).append(piece)
    for group in sizes.values():
        queries = max(len(piece.rows) for piece in group)
        places = max(len(piece.slots) for piece in group)
        rows = np.full((len(group), queries), -1)
        slots = np.empty((len(group), places), np.int64)
        limits = np.zeros((len(group), queries), np.int64)
        for i, piece in enumerate(group):
            rows[i, : len(piece.rows)] = piece.rows
            limits[i, : len(piece.rows)] = piece.limits
            slots[i, : len(piece.slots)] = piece.slots
            slots[i, len(piece.slots) :] = piece.slots[-1]
        yield Block(rows=rows, slots=slots, limits=limits)


def _merge_table(blocks: Sequence[Block], rows: int) -> Ints:
    owners = np.concatenate([block.rows.reshape(-1) for block in blocks])
    parts = np.flatnonzero(owners >= 0)
    order = parts[np.argsort(owners[parts], kind="stable")]
    counts = np.bincount(owners[order], minlength=rows)
    table = np.full((rows, int(counts.max())), len(owners))
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[owners[order], column] = order
    return table
