"""Attention in Triton against dense float64 attention: forks, shifts, holes, trees, bits."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from gpu_cases import DEVICE, Memory, dense, forks, memory, table
from torch import Tensor

from ponder.runtime.kernels.gpu.attention import attend, members_a_tile
from ponder.runtime.kernels.gpu.parts import BLOCK, SEGMENT, Reads, merge
from ponder.runtime.kernels.gpu.rotation import turn_queries
from ponder.runtime.runners import api, tile_plan
from ponder.runtime.runners.api import Work
from ponder.runtime.runners.tile_plan import TilePlan, make_tiles

NO_TREES = torch.zeros(1, dtype=torch.int64, device=DEVICE)


def on_device(numbers: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> Tensor:
    return torch.from_numpy(numbers).to(DEVICE)


def reads_of(plan: TilePlan) -> Reads:
    names = {field.name for field in fields(TilePlan)} & {field.name for field in fields(Reads)}
    arrays = {name: on_device(getattr(plan, name)) for name in names}
    return Reads(**arrays, trees=NO_TREES, has_trees=False)


def attention(
    works: list[Work], qkv: Tensor, lying: Memory, *, programs: int | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs and log-sum-exps of all rows; with many `programs` each tile reads from the start."""
    kv_heads, width = lying[0].shape[1], lying[0].shape[3]
    heads = qkv.shape[1] - 2 * kv_heads
    plan = make_tiles(works, tile=members_a_tile(heads // kv_heads), kv_heads=programs or kv_heads)
    queries = turn_queries(
        qkv, kv_heads, on_device(plan.query_rows), on_device(plan.query_angles), table(width)
    )
    reads = reads_of(plan)
    return merge(attend(queries, *lying, reads, width**-0.5), reads, torch.float32)


def projected(works: list[Work], heads: int, lying: Memory) -> Tensor:
    rows, kv_heads = sum(len(work.tokens) for work in works), lying[0].shape[1]
    chance = torch.Generator().manual_seed(5)
    shape = (rows, heads + 2 * kv_heads, lying[0].shape[3])
    return torch.randn(shape, generator=chance).to(DEVICE, lying[0].dtype)


def compare(works: list[Work], heads: int, lying: Memory, tolerance: float) -> None:
    qkv = projected(works, heads, lying)
    outputs, lses = (result.cpu().double() for result in attention(works, qkv, lying))
    at = 0
    for work in works:
        for row in range(len(work.tokens)):
            want = dense(work, row, qkv[at, :heads].cpu(), lying, lying[0].shape[3] ** -0.5)
            torch.testing.assert_close(outputs[at], want[0], rtol=0, atol=tolerance)
            torch.testing.assert_close(lses[at], want[1], rtol=0, atol=tolerance)
            at += 1


@pytest.mark.parametrize(
    ("group", "kv_heads", "width"), [(1, 2, 16), (3, 2, 20), (4, 1, 128), (8, 1, 64)]
)
def test_it_is_dense_attention(group: int, kv_heads: int, width: int) -> None:
    works = forks(group, shifts=False, holes=False)
    compare(works, group * kv_heads, memory(kv_heads, width, torch.float32), 1e-5)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
)
def test_moved_places_and_holes(dtype: torch.dtype, tolerance: float) -> None:
    compare(forks(7, shifts=True, holes=True), 4, memory(2, 32, dtype), tolerance)


@pytest.mark.parametrize("shifts", [False, True])
def test_company_and_the_split_change_no_bit(shifts: bool) -> None:
    lying = memory(2, 16, torch.float32)
    works = forks(3, shifts=shifts, holes=True)
    qkv = projected(works, 4, lying)
    together = attention(works, qkv, lying)
    if not shifts:  # one item a tile, however many places
        for one, other in zip(attention(works, qkv, lying, programs=1000), together, strict=True):
            assert torch.equal(one, other)
    at = 0
    for work in works:
        rows = slice(at, at + len(work.tokens))
        alone = attention([work], qkv[rows], lying)
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one, other[rows])
        at = rows.stop


def items(counts: list[list[int]], trees: list[int] | None = None, tree: int = 0) -> Reads:
    """One item of 100 places, pages 0 on; a list of limits a row, each limit a part."""
    limits = [limit for row in counts for limit in row]
    rows = [i for i, row in enumerate(counts) for _ in row]
    members = [
        [row, limit, tree if trees else limit, 0] for row, limit in zip(rows, limits, strict=True)
    ]
    starts = np.cumsum([0, *(len(row) for row in counts)])
    return Reads(
        places=torch.arange(128, dtype=torch.int32, device=DEVICE),
        items=torch.tensor([[0, 100, 0, len(limits)]], dtype=torch.int32, device=DEVICE),
        members=torch.tensor(members, dtype=torch.int32, device=DEVICE),
        trees=torch.tensor(trees, dtype=torch.int64, device=DEVICE) if trees else NO_TREES,
        has_trees=trees is not None,
        starts=torch.tensor(starts, dtype=torch.int32, device=DEVICE),
        parts=torch.arange(len(limits), dtype=torch.int32, device=DEVICE),
        segments=torch.tensor(
            [i for row in counts for i in range(len(row))], dtype=torch.int32, device=DEVICE
        ),
    )


def test_nothing_seen_is_nothing_and_adds_nothing() -> None:
    lying = memory(1, 16, torch.float32)
    queries = torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    reads = items([[0], [], [50]])
    outputs, lses = merge(attend(queries, *lying, reads, 0.25), reads, torch.float32)
    assert not outputs[:2].any()
    assert bool((lses[:2] == -torch.inf).all())
    reads = items([[0], [0, 0], [0, 50, 0]])
    more, more_lses = merge(attend(queries, *lying, reads, 0.25), reads, torch.float32)
    assert torch.equal(more, outputs)
    assert torch.equal(more_lses, lses)


def test_a_tree_shows_each_node_its_ancestors() -> None:
    """A prefix of 40 places, then a tree of 60 nodes; some of its bits are the 64th."""
    lying = memory(1, 16, torch.float32)
    chance = np.random.default_rng(4)
    masks = [1]
    for node in range(1, 60):
        masks.append(masks[int(chance.integers(0, node))] | 1 << node)
    shown = [0, 1, 17, 38, 59]
    queries = torch.randn(5, 2, 16, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    reads = items([[41 + node] for node in shown], [masks[node] for node in shown], tree=40)
    outputs, lses = merge(attend(queries, *lying, reads, 0.25), reads, torch.float32)
    for i, node in enumerate(shown):
        ancestors = [40 + j for j in range(node + 1) if masks[node] >> j & 1]
        slots = np.array([*range(40), *ancestors])
        work = Work(tokens=[0], slots=slots, wanted=1, positions=np.zeros(1, np.int64))
        want, lse = dense(work, 0, queries[i].cpu(), lying, 0.25)
        torch.testing.assert_close(outputs[i].cpu().double(), want, rtol=0, atol=1e-5)
        torch.testing.assert_close(lses[i].cpu().double(), lse, rtol=0, atol=1e-5)


def test_plan_and_kernel_cut_alike() -> None:
    assert BLOCK == api.BLOCK
    assert tile_plan.BLOCKS * BLOCK == SEGMENT
