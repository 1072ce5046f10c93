"""Rotary positions on the device (dossier R 0.2): queries and keys of a step, and cached keys that
move. Pairing is half-split; products are float32 and rounded once.

Angles come from the table that `models/rotary.py` makes in float64; a negative one is the mirror of
its opposite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import ceil_div, power_of_two

NUMBERS = 2048
"""That a program turns: a few vectors of head_dim."""


@jit()
def _turned(
    rows: Data, d: Data, live: Data, cosines: Data, sines: Data, angle: Data, HALF: constexpr
) -> Data:
    """Rows of memory, turned. `rows` points at each row's start, `angle` is each row's position."""
    low = d < HALF
    pair = tl.where(low, d, d - HALF)
    other = tl.where(low, d + HALF, pair)
    x = tl.load(rows[:, None] + d[None, :], mask=live, other=0.0).to(tl.float32)
    y = tl.load(rows[:, None] + other[None, :], mask=live, other=0.0).to(tl.float32)
    turn = tl.abs(angle).to(tl.int64)[:, None] * HALF + pair[None, :]
    c = tl.load(cosines + turn, mask=live, other=0.0)
    s = tl.load(sines + turn, mask=live, other=0.0)
    s = tl.where(low[None, :] == (angle < 0)[:, None], s, -s)
    return x * c + y * s


@jit(do_not_specialize=("count",))
def _place_keys(
    qkv: Data,
    homes: Data,
    writes: Data,
    cosines: Data,
    sines: Data,
    keys: Data,
    values: Data,
    count: Data,
    HEADS: constexpr,
    KV_HEADS: constexpr,
    VECTORS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
    PAGE: constexpr,
) -> Data:
    vector = tl.program_id(0) * VECTORS + tl.arange(0, VECTORS)
    row = (vector // KV_HEADS).to(tl.int64)
    head = vector % KV_HEADS
    d = tl.arange(0, WIDE_DIM)
    place = tl.load(writes + row, mask=vector < count, other=-1)
    live = (place >= 0)[:, None] & (d < DIM)[None, :]
    angle = tl.load(homes + row, mask=vector < count, other=0)
    source = qkv + (row * (HEADS + 2 * KV_HEADS) + HEADS + head) * DIM
    at = ((place // PAGE).to(tl.int64) * KV_HEADS + head) * PAGE + place % PAGE
    into = at[:, None] * DIM + d[None, :]
    tl.store(keys + into, _turned(source, d, live, cosines, sines, angle, DIM // 2), mask=live)
    value = tl.load(source[:, None] + KV_HEADS * DIM + d[None, :], mask=live, other=0.0)
    tl.store(values + into, value, mask=live)


@jit(do_not_specialize=("count",))
def _turn_queries(
    qkv: Data,
    rows: Data,
    angles: Data,
    cosines: Data,
    sines: Data,
    queries: Data,
    count: Data,
    HEADS: constexpr,
    KV_HEADS: constexpr,
    VECTORS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
) -> Data:
    vector = tl.program_id(0) * VECTORS + tl.arange(0, VECTORS)
    query = vector // HEADS
    real = vector < count
    row = tl.load(rows + query, mask=real, other=0).to(tl.int64)
    d = tl.arange(0, WIDE_DIM)
    live = real[:, None] & (d < DIM)[None, :]
    angle = tl.load(angles + query, mask=real, other=0)
    source = qkv + (row * (HEADS + 2 * KV_HEADS) + vector % HEADS) * DIM
    turned = _turned(source, d, live, cosines, sines, angle, DIM // 2)
    tl.store(queries + vector.to(tl.int64)[:, None] * DIM + d[None, :], turned, mask=live)


@jit()
def _move_keys(
    keys: Data,
    sources: Data,
    targets: Data,
    deltas: Data,
    cosines: Data,
    sines: Data,
    LAYER: constexpr,
    KV_HEADS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
    PAGE: constexpr,
) -> Data:
    move = tl.program_id(0)
    layer = tl.program_id(1).to(tl.int64)
    head = tl.program_id(2)
    offset = tl.arange(0, PAGE)
    d = tl.arange(0, WIDE_DIM)
    live = (d < DIM)[None, :] & (offset >= 0)[:, None]
    angle = tl.load(deltas + move) + 0 * offset
    base = keys + layer * LAYER
    source = (tl.load(sources + move).to(tl.int64) * KV_HEADS + head) * PAGE + offset
    target = (tl.load(targets + move).to(tl.int64) * KV_HEADS + head) * PAGE + offset
    turned = _turned(base + source * DIM, d, live, cosines, sines, angle, DIM // 2)
    tl.debug_barrier()  # in place, all of a page is read before any is written
    tl.store(base + (target * DIM)[:, None] + d[None, :], turned, mask=live)


def place_keys(
    qkv: Tensor,
    homes: Tensor,
    writes: Tensor,
    table: tuple[Tensor, Tensor],
    memory: tuple[Tensor, Tensor],
) -> None:
    """Write a step's keys, rotated for home, and its values into a layer's pages.

    Args:
        qkv: [rows, heads + 2 * kv_heads, head_dim], not rotated.
        homes: int32 [rows], the position each key is rotated for.
        writes: int32 [rows], page * PAGE + offset; -1 writes nothing.
        table: cosines and sines, float32 [positions, head_dim / 2].
        memory: keys and values, each [pages, kv_heads, PAGE, head_dim].
    """
    keys, values = memory
    rows, heads, width = qkv.shape
    kv_heads, page = keys.shape[1], keys.shape[2]
    wide = power_of_two(width)
    vectors = NUMBERS // wide
    _place_keys[(ceil_div(rows * kv_heads, vectors),)](
        qkv,
        homes,
        writes,
        *table,
        keys,
        values,
        rows * kv_heads,
        HEADS=heads - 2 * kv_heads,
        KV_HEADS=kv_heads,
        VECTORS=vectors,
        DIM=width,
        WIDE_DIM=wide,
        PAGE=page,
        enable_fp_fusion=False,
    )


def turn_queries(
    qkv: Tensor, kv_heads: int, rows: Tensor, angles: Tensor, table: tuple[Tensor, Tensor]
) -> Tensor:
    """Rotated queries, [queries, heads, head_dim]: one a row and shift.

    Args:
        qkv: as for `place_keys`.
        kv_heads: how many.
        rows: int32 [queries], the row of each.
        angles: int32 [queries], the row's position minus the shift of what it will read; of either
            sign, within the table.
        table: as for `place_keys`.
    """
    heads, width = qkv.shape[1] - 2 * kv_heads, qkv.shape[2]
    queries = torch.empty(len(rows), heads, width, dtype=qkv.dtype, device=qkv.device)
    wide = power_of_two(width)
    vectors = NUMBERS // wide
    _turn_queries[(ceil_div(len(rows) * heads, vectors),)](
        qkv,
        rows,
        angles,
        *table,
        queries,
        len(rows) * heads,
        HEADS=heads,
        KV_HEADS=kv_heads,
        VECTORS=vectors,
        DIM=width,
        WIDE_DIM=wide,
        enable_fp_fusion=False,
    )
    return queries


def move_keys(
    keys: Tensor, sources: Tensor, targets: Tensor, deltas: Tensor, table: tuple[Tensor, Tensor]
) -> None:
    """Rotate the keys of whole pages by `deltas` more positions; values need no change.

    Repeated moves in place round again each time; where that matters, read at a shift instead.

    Args:
        keys: [layers, pages, kv_heads, PAGE, head_dim]
        sources: int32 [moves], pages.
        targets: int32 [moves]; the sources themselves to turn in place, else pages that no other
            move reads or writes.
        deltas: int32 [moves], positions of either sign, within the table.
        table: as for `place_keys`.
    """
    layers, _, kv_heads, page, width = keys.shape
    _move_keys[(len(sources), layers, kv_heads)](
        keys,
        sources,
        targets,
        deltas,
        *table,
        LAYER=keys.stride(0),
        KV_HEADS=kv_heads,
        DIM=width,
        WIDE_DIM=power_of_two(width),
        PAGE=page,
        enable_fp_fusion=False,
    )
