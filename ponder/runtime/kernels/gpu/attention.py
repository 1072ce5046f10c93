"""Attention of tiles of query rows over runs of places in paged memory, in parts that merge exactly
(dossier R 0.3; FlashAttention, arXiv 2205.14135; Hydragen, arXiv 2402.05099; DeFT, 2404.00242).

Keys and values lie as [pages, kv_heads, PAGE, head_dim]: what one program reads of a page, one
head, is one run of memory (4 KiB at 128 bfloat16), and a layer's pages lie together. An item is a
run of places and the rows that read it; it is read once for all of them. The group of query heads
that share a KV head fills the rows of the matrix tile. Scores are in base 2.

The fold is the same wherever it happens. A row's places are cut, by its own order alone, into
blocks of BLOCK and segments of SEGMENT. Each block's part is summed from zero; blocks fold from the
left into their segment, segments from the left into the whole. An item may hold a whole beginning
of segments, a segment's beginning, or one block; `merge` goes on with the same arithmetic. So
neither sharing, nor chunks, nor how the work was split shows in a result (DESIGN 4.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import (
    TILE,
    architecture,
    interpreted,
    multiply,
    power_of_two,
)
from ponder.runtime.kernels.gpu.parts import BLOCK, SEGMENT, Parts, Reads, fold, nothing


@jit()
def _rows(items: Data, ROWS: constexpr, GROUP: constexpr, WIDE_GROUP: constexpr) -> Data:
    """Of each row of the tile: its member, its query head, and whether there is one; the item."""
    item = items + tl.program_id(0) * 4
    row = tl.arange(0, ROWS)
    who = row // WIDE_GROUP
    which = row % WIDE_GROUP
    live = (who < tl.load(item + 3)) & (which < GROUP)
    return tl.load(item + 2) + who, tl.program_id(1) * GROUP + which, live, item


@jit()
def _keys_and_values(
    keys: Data,
    values: Data,
    place: Data,
    KV_HEADS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
    PAGE: constexpr,
) -> Data:
    """Keys [head_dim, places] and values [places, head_dim]; zero where there is no place."""
    d = tl.arange(0, WIDE_DIM)
    page = (place // PAGE).to(tl.int64)
    address = ((page * KV_HEADS + tl.program_id(1)) * PAGE + place % PAGE) * DIM
    real, inside = place >= 0, d < DIM
    k = tl.load(
        keys + address[None, :] + d[:, None], mask=real[None, :] & inside[:, None], other=0.0
    )
    v = tl.load(
        values + address[:, None] + d[None, :], mask=real[:, None] & inside[None, :], other=0.0
    )
    return k, v


@jit()
def _in_tree(members: Data, trees: Data, member: Data, live: Data, at: Data) -> Data:
    """Whether each place is before the row's tree, or its bit is set."""
    start = tl.load(members + member * 4 + 2, mask=live, other=0)
    bits = tl.load(trees + member, mask=live, other=-1)
    bit = at[None, :] - start[:, None]
    shifted = bits[:, None] >> tl.minimum(tl.maximum(bit, 0), 63).to(tl.int64)
    return (bit < 0) | ((shifted & 1) == 1)


@jit()
def _part(q: Data, k: Data, v: Data, seen: Data, scale: Data, WIDEN: constexpr) -> Data:
    """Attention over one block."""
    scores = multiply(q, k, tl.zeros([q.shape[0], k.shape[1]], tl.float32), WIDEN) * scale
    scores = tl.where(seen, scores, float("-inf"))
    top = tl.max(scores, 1)
    weights = tl.exp2(scores - tl.where(top == float("-inf"), 0.0, top)[:, None])
    start = tl.zeros([q.shape[0], v.shape[1]], tl.float32)
    return multiply(weights.to(v.dtype), v, start, WIDEN), top, tl.sum(weights, 1)


@jit()
def _attend(
    queries: Data,
    keys: Data,
    values: Data,
    places: Data,
    items: Data,
    members: Data,
    trees: Data,
    sums_out: Data,
    tops_out: Data,
    totals_out: Data,
    scale: Data,
    KV_HEADS: constexpr,
    GROUP: constexpr,
    WIDE_GROUP: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
    PAGE: constexpr,
    ROWS: constexpr,
    PLACES: constexpr,
    SPAN: constexpr,
    TREES: constexpr,
    WIDEN: constexpr,
) -> Data:
    member, head, live, item = _rows(items, ROWS, GROUP, WIDE_GROUP)
    d = tl.arange(0, WIDE_DIM)
    both = live[:, None] & (d < DIM)[None, :]
    limit = tl.load(members + member * 4 + 1, mask=live, other=0)
    query = tl.load(members + member * 4, mask=live, other=0).to(tl.int64) * KV_HEADS * GROUP
    q = tl.load(queries + ((query + head) * DIM)[:, None] + d[None, :], mask=both, other=0.0)
    sums, top, total = nothing(ROWS, WIDE_DIM)
    whole, high, weight = nothing(ROWS, WIDE_DIM)
    count = tl.load(item + 1)
    for begin in range(0, count, PLACES):
        if (begin % SPAN == 0) & (begin > 0):
            whole, high, weight = fold(whole, high, weight, sums, top, total)
            sums, top, total = nothing(ROWS, WIDE_DIM)
        at = begin + tl.arange(0, PLACES)
        place = tl.load(places + tl.load(item) + at, mask=at < count, other=-1)
        seen = (place >= 0)[None, :] & (at[None, :] < limit[:, None])
        if TREES:
            seen &= _in_tree(members, trees, member, live, at)
        k, v = _keys_and_values(keys, values, place, KV_HEADS, DIM, WIDE_DIM, PAGE)
        more, more_top, more_total = _part(q, k, v, seen, scale, WIDEN)
        sums, top, total = fold(sums, top, total, more, more_top, more_total)
    whole, high, weight = fold(whole, high, weight, sums, top, total)
    out = member.to(tl.int64) * KV_HEADS * GROUP + head
    tl.store(sums_out + (out * DIM)[:, None] + d[None, :], whole, mask=both)
    tl.store(tops_out + out, high, mask=live)
    tl.store(totals_out + out, weight, mask=live)


def attend(queries: Tensor, keys: Tensor, values: Tensor, reads: Reads, scale: float) -> Parts:
    """What each member's query sees in its item's places.

    Args:
        queries: [queries, heads, head_dim], rotated; a row may have several, one a shift.
        keys: [pages, kv_heads, PAGE, head_dim], of the queries' type.
        values: as keys.
        reads: see `Reads`.
        scale: of the scores, as a rule 1 / sqrt(head_dim).
    """
    count, heads, width = len(reads.members), queries.shape[1], queries.shape[2]
    kv_heads, page = keys.shape[1], keys.shape[2]
    group = heads // kv_heads
    sums = torch.empty(count, heads, width, dtype=torch.float32, device=queries.device)
    tops, totals = torch.empty(2, count, heads, dtype=torch.float32, device=queries.device)
    chosen = architecture(queries.device)
    launch = chosen.attention if width <= 64 else chosen.wide_attention
    _attend[(len(reads.items), kv_heads)](
        queries,
        keys,
        values,
        reads.places,
        reads.items,
        reads.members,
        reads.trees,
        sums,
        tops,
        totals,
        scale / math.log(2),
        KV_HEADS=kv_heads,
        GROUP=group,
        WIDE_GROUP=power_of_two(group),
        DIM=width,
        WIDE_DIM=power_of_two(width, 16),
        PAGE=page,
        ROWS=TILE,
        PLACES=BLOCK,
        SPAN=SEGMENT,
        TREES=reads.has_trees,
        WIDEN=interpreted(),
        **launch.options(),
    )
    return Parts(sums=sums, tops=tops, totals=totals)


def members_a_tile(group: int) -> int:
    """How many rows of `group` query heads an item may have."""
    return TILE // power_of_two(group)
