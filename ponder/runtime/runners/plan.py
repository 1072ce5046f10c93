"""The step as plain integer arrays: which tokens at which positions, where their KV is written, and
which rows attend to which places.

Attention is a list of blocks, each a rectangle of rows times places; a row may be in several blocks
that share nothing, and its partial results merge exactly. A run of places that many branches share
is one block for all of them, so it is read once (Hydragen, arXiv 2402.05099; DeFT, arXiv
2404.00242). All places of a block are at one shift: a row has a query for each shift it reads at
(Hogwild, arXiv 2504.06261). One plan serves all layers, and any kernel. Knows no tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ponder.runtime.runners.api import BLOCK, Ints, Slots, Work

WORTH = 256
"""Places times saved readers below which a shared run is read by each row for itself: a block costs
about ten dispatches a layer.
"""
KEYS = 2048
"""Most places in one block of a chunk; bounds the memory of its scores."""
_SHIFTED = 40
"""Bits of a place's number; its shift goes above them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Queries that attend to places: item b's queries all look at item b's places."""

    queries: Ints
    """[items, queries], into those of the plan; -1 is padding."""
    slots: Ints
    """[items, places], padded with a place of the item's own."""
    limits: Ints
    """[items, queries]: a query sees the places before its limit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepPlan:
    tokens: Ints
    """[rows]"""
    positions: Ints
    """[rows]"""
    homes: Ints | None
    """[rows], the positions that keys are rotated for; None: those of the rows."""
    turned: Ints
    """[queries - rows]: the row of each query beyond the rows' own."""
    turns: Ints
    """[queries - rows]: the position it is rotated for."""
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
    positions = np.concatenate([_positions(work) for work in works])
    queries = _Queries(positions)
    placed = [
        _Placed(work, int(end - n), queries)
        for work, end, n in zip(works, ends, counts, strict=True)
    ]
    blocks = tuple(_Grouping(placed).blocks())
    homes = [_positions(work) if work.homes is None else work.homes for work in works]
    return StepPlan(
        tokens=np.asarray([token for work in works for token in work.tokens], np.int64),
        positions=positions,
        homes=np.concatenate(homes) if any(work.homes is not None for work in works) else None,
        turned=queries.turned,
        turns=queries.turns,
        writes=np.concatenate([work.slots[work.past :] for work in works]),
        blocks=blocks,
        merge=_merge_table(blocks, queries),
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


def _positions(work: Work) -> Ints:
    return np.arange(work.past, len(work.slots)) if work.positions is None else work.positions


class _Queries:
    """The rows' own queries, then one more for each row and shift."""

    def __init__(self, positions: Ints) -> None:
        self.rows = len(positions)
        self._positions = positions
        self._starts: dict[tuple[int, int], int] = {}
        self._turned: list[Ints] = []
        self._turns: list[Ints] = []
        self._count = len(positions)

    @property
    def turned(self) -> Ints:
        return np.concatenate([np.empty(0, np.int64), *self._turned])

    @property
    def turns(self) -> Ints:
        return np.concatenate([np.empty(0, np.int64), *self._turns])

    @property
    def owners(self) -> Ints:
        """The row of each query."""
        return np.concatenate([np.arange(self.rows), *self._turned])

    def at(self, row: int, count: int, shift: int) -> Ints:
        """The queries of `count` rows from `row` on, for places at a shift."""
        if not shift:
            return np.arange(row, row + count)
        if (row, shift) not in self._starts:
            rows = np.arange(row, row + count)
            self._starts[row, shift] = self._count
            self._turned.append(rows)
            self._turns.append(self._positions[rows] - shift)
            self._count += count
        start = self._starts[row, shift]
        return np.arange(start, start + count)


class _Placed:
    """A work whose rows start at `row`, without its holes; places before `start` are already
    covered by blocks.
    """

    __slots__ = ("_queries", "_row", "count", "keys", "past", "shifts", "slots", "start")

    def __init__(self, work: Work, row: int, queries: _Queries) -> None:
        self.count = len(work.tokens)
        self.start = 0
        self.slots = work.slots
        self.shifts: Ints | None = None
        if work.shifts is not None:
            self.shifts = np.repeat(work.shifts, BLOCK)[: len(work.slots)]
        if work.positions is not None or work.shifts is not None:
            real = work.slots >= 0
            self.slots = work.slots[real]
            self.shifts = None if self.shifts is None else self.shifts[real]
        self.past = len(self.slots) - self.count
        self.keys = self.slots
        """Equal where place and shift are."""
        if self.shifts is not None:
            self.keys = self.slots + (self.shifts << _SHIFTED)
        self._queries = queries
        self._row = row

    def queries(self, place: int) -> Ints:
        """Of its rows, for places at the shift of this one."""
        shift = 0 if self.shifts is None else int(self.shifts[place])
        return self._queries.at(self._row, self.count, shift)

    def runs(self, start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
        """Cuts `start` to `stop` where the shift changes, and into runs of `size` at most."""
        edges = [start, stop]
        if self.shifts is not None:
            inside = self.shifts[start:stop]
            edges[1:1] = (start + 1 + np.flatnonzero(inside[1:] != inside[:-1])).tolist()
        for low, high in pairwise(edges):
            yield from ((at, min(at + size, high)) for at in range(low, high, size))


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
        for low, high in group[0].runs(start, end, KEYS):
            slots = group[0].slots[low:high]
            queries = np.concatenate([work.queries(low) for work in group])
            limits = np.full((1, len(queries)), len(slots))
            self._shared.append(Block(queries=queries[None], slots=slots[None], limits=limits))
        for work in group:
            work.start = end


def _partition(group: Iterable[_Placed], depth: int) -> list[list[_Placed]]:
    """By the place at `depth`; works that end there share no more."""
    parts: dict[int, list[_Placed]] = {}
    for work in group:
        if work.past > depth:
            parts.setdefault(int(work.keys[depth]), []).append(work)
    return list(parts.values())


def _common(group: Sequence[_Placed], depth: int) -> int:
    first = group[0].keys[depth : group[0].past]
    for work in group[1:]:
        first = first[: common(first, work.keys[depth : work.past])]
    return depth + len(first)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    queries: Ints
    slots: Slots
    limits: Ints


def _own(work: _Placed) -> Iterable[_Piece]:
    """What no other work reads with it: the rest of its past, and its own new rows, causally."""
    total = len(work.slots)
    for low, high in work.runs(work.start, total, total if work.count == 1 else KEYS):
        limits = np.clip(np.arange(work.past + 1, total + 1) - low, 0, high - low)
        yield _Piece(queries=work.queries(low), slots=work.slots[low:high], limits=limits)


def _pack(pieces: Iterable[_Piece]) -> Iterable[Block]:
    """Pieces of like size side by side, so that padding at most doubles either side."""
    sizes: dict[tuple[int, int], list[_Piece]] = {}
    for piece in pieces:
        key = (len(piece.queries).bit_length(), max(len(piece.slots), 32).bit_length())
        sizes.setdefault(key, []).append(piece)
    for group in sizes.values():
        width = max(len(piece.queries) for piece in group)
        places = max(len(piece.slots) for piece in group)
        queries = np.full((len(group), width), -1)
        slots = np.empty((len(group), places), np.int64)
        limits = np.zeros((len(group), width), np.int64)
        for i, piece in enumerate(group):
            queries[i, : len(piece.queries)] = piece.queries
            limits[i, : len(piece.queries)] = piece.limits
            slots[i, : len(piece.slots)] = piece.slots
            slots[i, len(piece.slots) :] = piece.slots[-1]
        yield Block(queries=queries, slots=slots, limits=limits)


def _merge_table(blocks: Sequence[Block], queries: _Queries) -> Ints:
    asked = np.concatenate([block.queries.reshape(-1) for block in blocks])
    parts = np.flatnonzero(asked >= 0)
    rows = queries.owners[asked[parts]]
    order = np.argsort(rows, kind="stable")
    parts, rows = parts[order], rows[order]
    counts = np.bincount(rows, minlength=queries.rows)
    table = np.full((queries.rows, int(counts.max())), len(asked))
    column = np.arange(len(parts)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[rows, column] = parts
    return table
