"""Parts of attention on the device: who reads what, what came of it, and the fold that merges parts
exactly and in one order (dossier R 0.3; `attention.py` says which).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import ceil_div, power_of_two

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
def nothing(ROWS: constexpr, WIDTH: constexpr) -> Data:
    """The part that saw nothing."""
    return (
        tl.zeros([ROWS, WIDTH], tl.float32),
        tl.full([ROWS], float("-inf"), tl.float32),
        tl.zeros([ROWS], tl.float32),
    )


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
def _load_part(
    part: Data,
    head: Data,
    sums: Data,
    tops: Data,
    totals: Data,
    HEADS: constexpr,
    DIM: constexpr,
    WIDE_DIM: constexpr,
) -> Data:
    at = part.to(tl.int64) * HEADS + head
    live = head < HEADS
    d = tl.arange(0, WIDE_DIM)
    both = live[:, None] & (d < DIM)[None, :]
    return (
        tl.load(sums + (at * DIM)[:, None] + d[None, :], mask=both, other=0.0),
        tl.load(tops + at, mask=live, other=float("-inf")),
        tl.load(totals + at, mask=live, other=0.0),
    )


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
    sums, top, total = nothing(WIDE_HEADS, WIDE_DIM)
    whole, high, weight = nothing(WIDE_HEADS, WIDE_DIM)
    before = 0
    begin = tl.load(starts + row)
    end = tl.load(starts + row + 1)
    for i in tl.range(begin, end, num_stages=4):  # so that loads run ahead of the fold
        segment = tl.load(segments + i)
        if segment != before:
            whole, high, weight = fold(whole, high, weight, sums, top, total)
            sums, top, total = nothing(WIDE_HEADS, WIDE_DIM)
        before = segment
        more, more_top, more_total = _load_part(
            tl.load(parts + i), head, sums_in, tops_in, totals_in, HEADS, DIM, WIDE_DIM
        )
        sums, top, total = fold(sums, top, total, more, more_top, more_total)
    whole, high, weight = fold(whole, high, weight, sums, top, total)
    out = row.to(tl.int64) * HEADS + head
    live = head < HEADS
    d = tl.arange(0, WIDE_DIM)
    both = live[:, None] & (d < DIM)[None, :]
    divisor = tl.where(weight == 0.0, 1.0, weight)
    tl.store(outputs + (out * DIM)[:, None] + d[None, :], whole / divisor[:, None], mask=both)
    lse = tl.where(weight == 0.0, float("-inf"), high + tl.log2(divisor))
    tl.store(lses + out, lse * 0.6931471805599453, mask=live)


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
