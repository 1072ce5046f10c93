"""Partial attention and its merge against dense float64 softmax; step plans against a plain list of
who sees what.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import CONFIG
from torch import Tensor

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.view import View
from ponder.runtime.kernels.reference import merge, partial_attention
from ponder.runtime.models.rotary import rotary_table, rotate
from ponder.runtime.runners.api import Work
from ponder.runtime.runners.plan import StepPlan, make_plan

DIM = 8


def dense(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """One head: [dim], [places, dim] twice."""
    scores = keys.double() @ query.double() * DIM**-0.5
    return scores.softmax(0) @ values.double(), scores.logsumexp(0)


@pytest.mark.parametrize("group", [1, 3, 4])
@pytest.mark.parametrize("cuts", [[], [0], [5], [1, 2, 20], [0, 7, 7, 23]])
def test_any_split_merges_to_dense_attention(group: int, cuts: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    places, rows, heads = 23, 3, 2
    queries = 4 * torch.randn(heads, 1, rows, group, DIM, generator=generator)
    keys = torch.randn(heads, 1, places, DIM, generator=generator)
    values = torch.randn(heads, 1, places, DIM, generator=generator)
    edges = [0, *cuts, places]
    parts = [
        partial_attention(queries, keys[:, :, a:b], values[:, :, a:b], None, DIM**-0.5)
        for a, b in pairwise(edges)
    ]
    output, lse = merge(
        torch.stack([part[0] for part in parts], dim=3),
        torch.stack([part[1] for part in parts], dim=3),
    )
    for h in range(heads):
        for r in range(rows):
            for g in range(group):
                want, norm = dense(queries[h, 0, r, g], keys[h, 0], values[h, 0])
                torch.testing.assert_close(output[h, 0, r, g].double(), want, rtol=0, atol=1e-5)
                torch.testing.assert_close(lse[h, 0, r, g].double(), norm, rtol=0, atol=1e-5)


def test_limits_hide_what_lies_behind_them() -> None:
    generator = torch.Generator().manual_seed(2)
    queries, keys, values = (torch.randn(1, 2, 4, DIM, generator=generator) for _ in range(3))
    limits = torch.tensor([[0, 1, 3, 4], [4, 2, 0, 1]])
    output, lse = partial_attention(queries[:, :, :, None], keys, values, limits, DIM**-0.5)
    for item in range(2):
        for row in range(4):
            limit = int(limits[item, row])
            got, norm = output[0, item, row, 0].double(), lse[0, item, row, 0]
            if not limit:
                assert norm == -torch.inf
                assert not got.any()
                continue
            seen = slice(0, limit)
            want, _ = dense(queries[0, item, row], keys[0, item, seen], values[0, item, seen])
            torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_merging_nothing_is_nothing() -> None:
    output, lse = merge(torch.zeros(2, 3, 1, DIM), torch.full((2, 3, 1), -torch.inf))
    assert not output.any()
    assert bool((lse == -torch.inf).all())


def test_rotation_depends_on_distance_only() -> None:
    cosines, sines = rotary_table(replace(CONFIG, head_dim=DIM, context_length=300))
    query, key = torch.randn(2, 1, 1, DIM, generator=torch.Generator().manual_seed(3))
    turned = [
        rotate(t, cosines, sines) for t in (query.expand(300, 1, DIM), key.expand(300, 1, DIM))
    ]
    near = (turned[0][17, 0] * turned[1][10, 0]).sum()
    far = (turned[0][297, 0] * turned[1][290, 0]).sum()
    assert float(near) == pytest.approx(float(far), abs=1e-4)


def seen(plan: StepPlan) -> list[list[int]]:
    """The places each row sees, in any order, once for each time it sees them."""
    result: list[list[int]] = [[] for _ in plan.tokens]
    for block in plan.blocks:
        for rows, slots, limits in zip(block.queries, block.slots, block.limits, strict=True):
            for row, limit in zip(rows.tolist(), limits.tolist(), strict=True):
                if row >= 0:
                    result[row] += slots[:limit].tolist()
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 400), st.integers(1, 60)),
        min_size=1,
        max_size=12,
    )
)
def test_a_plan_shows_each_row_its_past_once(tree: list[tuple[int, int, int]]) -> None:
    """A random tree of forks (parent, tokens kept of it, tokens added) whose leaves all step."""
    pool = PagePool(2000)
    views = [View(pool)]
    views[0].grow(300)
    works: list[Work] = []
    for parent, kept, added in tree:
        view = views[parent % len(views)].fork()
        view.truncate(kept)
        view.grow(added)
        views.append(view)
        fresh = 1 + added % 7 if added % 3 else added
        fresh = min(fresh, added)
        works.append(Work(tokens=[0] * fresh, slots=view.slots, wanted=fresh % 2))
    plan = make_plan(works)
    want = [w.slots[: w.past + i + 1].tolist() for w in works for i in range(len(w.tokens))]
    assert [sorted(row) for row in seen(plan)] == [sorted(row) for row in want]
    assert plan.positions.tolist() == [p for w in works for p in range(w.past, len(w.slots))]
    assert plan.writes.tolist() == [slots[-1] for slots in want]
    assert len(plan.wanted) == sum(w.wanted for w in works)


def test_a_shared_prefix_is_read_once() -> None:
    pool = PagePool(200)
    prefix = View(pool)
    prefix.grow(205)
    works: list[Work] = []
    for _ in range(64):
        view = prefix.fork()
        view.grow(3)
        works.append(Work(tokens=[0], slots=view.slots, wanted=1))
    blocks = make_plan(works).blocks
    assert sorted(block.slots.shape for block in blocks) == [(1, 205), (64, 3)]


def test_the_merge_table_finds_every_part() -> None:
    pool = PagePool(400)
    prefix = View(pool)
    prefix.grow(300)
    forks = [prefix.fork() for _ in range(3)]
    lonely = View(pool)
    for view in [*forks, lonely]:
        view.grow(2)
    plan = make_plan([Work(tokens=[0], slots=v.slots, wanted=1) for v in [*forks, lonely]])
    owners = np.concatenate([block.queries.reshape(-1) for block in plan.blocks])
    for row, parts in enumerate(plan.merge.tolist()):
        real = [part for part in parts if part < len(owners)]
        assert [int(owners[part]) for part in real] == [row] * (2 if row < 3 else 1)
