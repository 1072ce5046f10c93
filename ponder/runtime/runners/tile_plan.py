"""The step for tiled kernels: which query rows read which runs of places (`kernels/gpu/attention`).

What works share, block by block from the start of their views, is read once for all their rows. A
row's places are cut by their index in its own view alone, so its sums do not tell who else is here.
Knows no tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ponder.runtime.runners.api import BLOCK, Ints, Work
from ponder.runtime.runners.plan import common

BLOCKS = 4
"""Blocks a segment."""
ENOUGH = 128
"""Programs that keep a GPU busy: a chunk of so many tiles reads its places from the start, each
tile in one item; with fewer, segments are items of their own, and their parts are merged.
"""
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TilePlan:
    """Arrays as `kernels.gpu.parts.Reads` and the decoder want them, all int32."""

    tokens: Numbers
    """[rows]"""
    homes: Numbers
    """[rows]: the position each key is rotated for."""
    writes: Numbers
    """[rows]: where each key and value goes."""
    query_rows: Numbers
    """[queries]: a row has one query for each shift that it reads at."""
    query_angles: Numbers
    places: Numbers
    items: Numbers
    members: Numbers
    starts: Numbers
    parts: Numbers
    segments: Numbers
    wanted: Numbers
    """[rows that need logits]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Placed:
    """A work whose rows start at `row`."""

    work: Work
    row: int

    @property
    def rows(self) -> Ints:
        return np.arange(self.row, self.row + len(self.work.tokens))

    @property
    def seen(self) -> Ints:
        """[rows]: how many places each sees."""
        return np.arange(self.work.past + 1, len(self.work.slots) + 1)

    @property
    def full(self) -> int:
        """Blocks that all rows see whole."""
        return self.work.past // BLOCK

    @property
    def blocks(self) -> int:
        return -(-len(self.work.slots) // BLOCK)

    def key(self, block: int) -> bytes:
        """Equal for equal places at equal shifts."""
        shift = 0 if self.work.shifts is None else int(self.work.shifts[block])
        return self.work.slots[block * BLOCK : (block + 1) * BLOCK].tobytes() + b"%d" % shift

    def shift_changes(self) -> Ints:
        """Blocks that are not at the shift of the one before."""
        if self.work.shifts is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(np.diff(self.work.shifts)) + 1


def make_tiles(works: Sequence[Work], *, tile: int, kv_heads: int) -> TilePlan:
    """Lay the rows of all works out in order and find what they share.

    Args:
        works: at least one.
        tile: rows an item may have.
        kv_heads: programs an item.
    """
    ends = np.cumsum([len(work.tokens) for work in works])
    placed = [
        _Placed(work=work, row=int(end) - len(work.tokens))
        for work, end in zip(works, ends, strict=True)
    ]
    reader = _Reader(tile)
    thin: list[_Placed] = []
    for one in placed:
        wide = -(-len(one.work.tokens) // tile) * kv_heads >= ENOUGH
        if wide and not len(one.shift_changes()):
            reader.read_from_start(one)
        else:
            thin.append(one)
    for group, start, stop in _runs(thin):
        reader.read(group, start, stop)
    positions = np.concatenate([_positions(work) for work in works])
    homes = [_positions(work) if work.homes is None else work.homes for work in works]
    members, queries = reader.members(positions)
    return TilePlan(
        tokens=np.concatenate([np.asarray(work.tokens, np.int32) for work in works]),
        homes=_short(np.concatenate(homes)),
        writes=_short(np.concatenate([work.slots[work.past :] for work in works])),
        query_rows=queries[0],
        query_angles=queries[1],
        places=_short(np.concatenate(reader.places)),
        items=_short(np.concatenate(reader.items)),
        members=members,
        wanted=_wanted(placed),
        **reader.merging(len(positions)),
    )


def _positions(work: Work) -> Ints:
    if work.positions is None:
        return np.arange(work.past, len(work.slots))
    return work.positions


def _wanted(placed: Iterable[_Placed]) -> Numbers:
    return _short(np.concatenate([one.rows[len(one.rows) - one.work.wanted :] for one in placed]))


def _short(numbers: Ints) -> Numbers:
    return numbers.astype(np.int32)


def _runs(works: list[_Placed]) -> Iterator[tuple[list[_Placed], int, int]]:
    """Who reads which blocks together: (works, first block, one after the last)."""
    stack = [(works, 0)]
    while stack:
        group, depth = stack.pop()
        parts: dict[bytes, list[_Placed]] = {}
        for work in group:
            if work.full > depth and len(group) > 1:
                parts.setdefault(work.key(depth), []).append(work)
            else:
                yield [work], depth, work.blocks
        for part in parts.values():
            if len(part) == 1:
                yield part, depth, part[0].blocks
                continue
            end = _common(part)
            yield part, depth, end
            stack.append((part, end))


def _common(group: Sequence[_Placed]) -> int:
    """How many blocks these have in common from the start."""
    first = group[0]
    end = min(work.full for work in group)
    for work in group[1:]:
        here = common(first.work.slots[: end * BLOCK], work.work.slots[: end * BLOCK]) // BLOCK
        end = min(here, common(_shifts(first, end), _shifts(work, end)))
    return end


def _shifts(placed: _Placed, blocks: int) -> Ints:
    shifts = placed.work.shifts
    return np.zeros(blocks, np.int64) if shifts is None else shifts[:blocks]


class _Reader:
    """Collects items and their members."""

    def __init__(self, tile: int) -> None:
        self._tile = tile
        self._room = 0
        self._count = 0
        self.places: list[Ints] = []
        self.items: list[Ints] = []
        self._rows: list[Ints] = []
        self._limits: list[Ints] = []
        self._blocks: list[Ints] = []
        self._shifts: list[Ints] = []

    def read(self, group: Sequence[_Placed], start: int, stop: int) -> None:
        """Blocks `start` to `stop`, the same for the whole group, cut where segments begin."""
        if start == stop:
            return
        rows = np.concatenate([work.rows for work in group])
        seen = np.concatenate([work.seen for work in group])
        cuts = _cuts(start, stop, group[0].shift_changes())
        self._add(group[0], rows, seen, cuts, np.append(cuts[1:], stop))

    def read_from_start(self, placed: _Placed) -> None:
        """Everything that each tile of its rows sees, in one item a tile."""
        for low in range(0, len(placed.rows), self._tile):
            tile = slice(low, low + self._tile)
            seen = placed.seen[tile]
            stop = -(-int(seen[-1]) // BLOCK)
            self._add(placed, placed.rows[tile], seen, np.array([0]), np.array([stop]))

    def members(self, positions: Ints) -> tuple[Numbers, tuple[Numbers, Numbers]]:
        """Members, and the row and the angle of each query."""
        rows, shifts = np.concatenate(self._rows), np.concatenate(self._shifts)
        query_rows, angles, queries = np.arange(len(positions)), positions, rows
        if shifts.any():
            pairs, queries = np.unique(np.stack((rows, shifts)), axis=1, return_inverse=True)
            query_rows, angles = pairs[0], positions[pairs[0]] - pairs[1]
        limits = np.concatenate(self._limits)
        members = np.stack((queries, limits, limits, np.zeros_like(limits)), axis=1)
        return _short(members), (_short(query_rows), _short(angles))

    def merging(self, rows: int) -> dict[str, Numbers]:
        """Each row's members in the order of their places."""
        owners, blocks = np.concatenate(self._rows), np.concatenate(self._blocks)
        order = np.lexsort((blocks, owners))
        starts = np.append(0, np.cumsum(np.bincount(owners, minlength=rows)))
        return {
            "starts": _short(starts),
            "parts": _short(order),
            "segments": _short(blocks[order] // BLOCKS),
        }

    def _add(self, source: _Placed, rows: Ints, seen: Ints, cuts: Ints, ends: Ints) -> None:
        """Items for pieces (blocks `cuts` to `ends` of the source) times tiles of rows; rows that
        see nothing of a piece are left out.
        """
        slots = source.work.slots[cuts[0] * BLOCK : ends[-1] * BLOCK]
        first = self._room + (cuts - cuts[0]) * BLOCK
        counts = np.minimum(ends * BLOCK, len(source.work.slots)) - cuts * BLOCK
        self.places.append(np.append(slots, np.full(-len(slots) % BLOCK, -1)))
        self._room += len(self.places[-1])
        limits = np.clip(seen - cuts[:, None] * BLOCK, 0, counts[:, None])
        kept = limits > 0
        tiles = -(-len(rows) // self._tile)
        padding = ((0, 0), (0, tiles * self._tile - len(rows)))
        sizes = np.pad(kept, padding).reshape(-1, self._tile).sum(axis=1)
        starts = self._count + np.cumsum(sizes) - sizes
        items = np.stack((first.repeat(tiles), counts.repeat(tiles), starts, sizes), axis=1)
        self.items.append(items[sizes > 0])
        self._count += int(sizes.sum())
        shifts = source.work.shifts
        piece_shifts = np.zeros_like(cuts) if shifts is None else shifts[cuts]
        for table, value in (
            (self._rows, rows),
            (self._limits, limits),
            (self._blocks, cuts[:, None]),
            (self._shifts, piece_shifts[:, None]),
        ):
            table.append(np.broadcast_to(value, kept.shape)[kept])


def _cuts(start: int, stop: int, changes: Ints) -> Ints:
    """Where items begin: a beginning of a segment at one shift is one, all other blocks are single,
    since parts fold from the left.
    """
    blocks = np.arange(start, stop)
    begins = blocks - blocks % BLOCKS
    # A block goes on with the one before if nothing from its segment's beginning to it is new.
    news = np.zeros(stop + 1, np.int64)
    news[changes[changes <= stop]] = 1
    total = np.cumsum(news)
    joined = (begins >= start) & (blocks > begins) & (total[blocks] == total[begins])
    cuts: Ints = blocks[~joined]
    return cuts
