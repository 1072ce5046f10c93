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
from dataclasses import dataclass

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import (
    TILE,
    architecture,
    ceil_div,
    interpreted,
    multiply,
    power_of_two,
)

BLOCK = 64
"""Places that a part takes at a time."""
SEGMENT = 256
"""Places whose parts fold into one before they fold into the whole."""
ITEM, MEMBER = 4, 4
"""Numbers that describe an item, a member."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reads:
    """Who reads what, on the device; int32 but for the trees. The same for all layers."""

    places: Tensor
    """Places of all items, each item's from a multiple of BLOCK on; -1 is a hole, never read."""
    items: Tensor
    """[items, ITEM]: its first among `places`, their count, its first member, their count."""
    members: Tensor
    """[members, MEMBER]: the query, how many of the item's places it sees, the place (of the item)
    from which its tree's bits count, 0.
    """
    trees: Tensor
    """int64 [members]: bit j tells whether place j of the tree is seen (a node's ancestors and
    itself); all ones without a tree. The window is 64 places.
    """
    has_trees: bool
    starts: Tensor
    """[rows + 1]: where each row's parts start in `parts`."""
    parts: Tensor
    """[members]: members of one row, in the order of their places."""
    segments: Tensor
    """[members]: the segment, of the row's own places, that each of `parts` begins in."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Attention of members, not yet divided: sums [members, heads, head_dim], and their largest
    score (base 2) and total weight [members, heads]; float32. Nothing seen is (0, -inf, 0).
    """

    sums: Tensor
    tops: Tensor
    totals: Tensor


@jit()
def fold(sums: Data, top: Data, total: Data, more: Data, more_top: Data, more_total: Data) -> Data:
    """Two parts as one. Rows are first; nothing folded into x is x, to the bit."""
    high = tl.maximum(top, more_top)
    safe = tl.where(high == float("-inf"), 0.0, high)
    mine = tl.exp2(top - safe)
    other = tl.exp2(more_top - safe)
    return (
        sums * mine[:, None] + more * other[:, None],
        high,
        total * mine + more_total * other,
    )


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
    item = items + tl.program_id(0) * 4
    head = tl.program_id(1)
    first = tl.load(item)
    count = tl.load(item + 1)
    start = tl.load(item + 2)
    size = tl.load(item + 3)

    row = tl.arange(0, ROWS)
    who = row // WIDE_GROUP
    which = row % WIDE_GROUP
    live = (who < size) & (which < GROUP)
    member = start + who
    query = tl.load(members + member * 4, mask=live, other=0).to(tl.int64)
    limit = tl.load(members + member * 4 + 1, mask=live, other=0)
    tree, bits = limit, limit
    if TREES:
        tree = tl.load(members + member * 4 + 2, mask=live, other=0)
        bits = tl.load(trees + member, mask=live, other=-1)

    d = tl.arange(0, WIDE_DIM)
    inside = d < DIM
    at_head = head * GROUP + which
    q = tl.load(
        queries + ((query * KV_HEADS * GROUP + at_head) * DIM)[:, None] + d[None, :],
        mask=live[:, None] & inside[None, :],
        other=0.0,
    )
    sums = tl.zeros([ROWS, WIDE_DIM], tl.float32)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    whole = tl.zeros([ROWS, WIDE_DIM], tl.float32)
    whole_top = tl.full([ROWS], float("-inf"), tl.float32)
    whole_total = tl.zeros([ROWS], tl.float32)
    for begin in range(0, count, PLACES):
        if (begin % SPAN == 0) & (begin > 0):
            whole, whole_top, whole_total = fold(whole, whole_top, whole_total, sums, top, total)
            sums = tl.zeros([ROWS, WIDE_DIM], tl.float32)
            top = tl.full([ROWS], float("-inf"), tl.float32)
            total = tl.zeros([ROWS], tl.float32)
        at = begin + tl.arange(0, PLACES)
        place = tl.load(places + first + at, mask=at < count, other=-1)
        real = place >= 0
        page = (place // PAGE).to(tl.int64)
        address = ((page * KV_HEADS + head) * PAGE + place % PAGE) * DIM
        k = tl.load(
            keys + address[None, :] + d[:, None], mask=real[None, :] & inside[:, None], other=0.0
        )
        v = tl.load(
            values + address[:, None] + d[None, :], mask=real[:, None] & inside[None, :], other=0.0
        )
        scores = multiply(q, k, tl.zeros([ROWS, PLACES], tl.float32), WIDEN) * scale
        seen = real[None, :] & (at[None, :] < limit[:, None])
        if TREES:
            bit = at[None, :] - tree[:, None]
            shifted = bits[:, None] >> tl.minimum(tl.maximum(bit, 0), 63).to(tl.int64)
            seen &= (bit < 0) | ((shifted & 1) == 1)
        scores = tl.where(seen, scores, float("-inf"))
        here = tl.max(scores, 1)
        weights = tl.exp2(scores - tl.where(here == float("-inf"), 0.0, here)[:, None])
        more = multiply(weights.to(v.dtype), v, tl.zeros([ROWS, WIDE_DIM], tl.float32), WIDEN)
        sums, top, total = fold(sums, top, total, more, here, tl.sum(weights, 1))
    whole, whole_top, whole_total = fold(whole, whole_top, whole_total, sums, top, total)

    out = member.to(tl.int64) * KV_HEADS * GROUP + at_head
    tl.store(
        sums_out + (out * DIM)[:, None] + d[None, :],
        whole,
        mask=live[:, None] & inside[None, :],
    )
    tl.store(tops_out + out, whole_top, mask=live)
    tl.store(totals_out + out, whole_total, mask=live)


@jit()
def _merge(
    sums_in: Data,
    tops_in: Data,
    totals_in: Data,
    starts: Data,
    parts: Data,
    segments: Data,
    outputs: Data,
    lses: Data,
    HEADS: constexpr,
    WIDE_HEADS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
) -> Data:
    row = tl.program_id(0)
    head = tl.program_id(1) * WIDE_HEADS + tl.arange(0, WIDE_HEADS)
    d = tl.arange(0, WIDE_DIM)
    live = head < HEADS
    both = live[:, None] & (d < DIM)[None, :]
    sums = tl.zeros([WIDE_HEADS, WIDE_DIM], tl.float32)
    top = tl.full([WIDE_HEADS], float("-inf"), tl.float32)
    total = tl.zeros([WIDE_HEADS], tl.float32)
    whole = tl.zeros([WIDE_HEADS, WIDE_DIM], tl.float32)
    whole_top = tl.full([WIDE_HEADS], float("-inf"), tl.float32)
    whole_total = tl.zeros([WIDE_HEADS], tl.float32)
    begin = tl.load(starts + row)
    end = tl.load(starts + row + 1)
    before = 0
    for i in tl.range(begin, end, num_stages=4):  # so that loads run ahead of the fold
        segment = tl.load(segments + i)
        if segment != before:
            whole, whole_top, whole_total = fold(whole, whole_top, whole_total, sums, top, total)
            sums = tl.zeros([WIDE_HEADS, WIDE_DIM], tl.float32)
            top = tl.full([WIDE_HEADS], float("-inf"), tl.float32)
            total = tl.zeros([WIDE_HEADS], tl.float32)
        before = segment
        at = tl.load(parts + i).to(tl.int64) * HEADS + head
        sums, top, total = fold(
            sums,
            top,
            total,
            tl.load(sums_in + (at * DIM)[:, None] + d[None, :], mask=both, other=0.0),
            tl.load(tops_in + at, mask=live, other=float("-inf")),
            tl.load(totals_in + at, mask=live, other=0.0),
        )
    whole, whole_top, whole_total = fold(whole, whole_top, whole_total, sums, top, total)
    out = row.to(tl.int64) * HEADS + head
    divisor = tl.where(whole_total == 0.0, 1.0, whole_total)
    tl.store(outputs + (out * DIM)[:, None] + d[None, :], whole / divisor[:, None], mask=both)
    lse = tl.where(whole_total == 0.0, float("-inf"), whole_top + tl.log2(divisor))
    tl.store(lses + out, lse * 0.6931471805599453, mask=live)


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


def merge(parts: Parts, reads: Reads, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Each row's parts as one, in the order of its places.

    Returns:
        Outputs [rows, heads, head_dim], and log-sum-exps (nats) [rows, heads], float32; (0, -inf)
        where a row sees nothing.
    """
    rows = len(reads.starts) - 1
    _, heads, width = parts.sums.shape
    outputs = torch.empty(rows, heads, width, dtype=dtype, device=parts.sums.device)
    lses = torch.empty(rows, heads, dtype=torch.float32, device=parts.sums.device)
    wide = min(8, power_of_two(heads))
    _merge[(rows, ceil_div(heads, wide))](
        parts.sums,
        parts.tops,
        parts.totals,
        reads.starts,
        reads.parts,
        reads.segments,
        outputs,
        lses,
        HEADS=heads,
        WIDE_HEADS=wide,
        DIM=width,
        WIDE_DIM=power_of_two(width, 16),
        num_warps=4,
        enable_fp_fusion=False,
    )
    return outputs, lses
