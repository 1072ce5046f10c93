"""Partial attention and its merge against dense float64 softmax; step plans against a plain list of
who sees what.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import CONFIG
from torch import Tensor

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.spans import Layout, Span
from ponder.runtime.engine.view import View
from ponder.runtime.kernels.reference import merge, partial_attention
from ponder.runtime.models.rotary import rotary_table, rotate
from ponder.runtime.runners.api import PAGE, Work
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


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_shifted_places_are_read_by_turned_queries(data: st.DataObject) -> None:
    """Views of spans from a few pages, at any shifts, some of them shared: each row sees each place
    before it once, with a query rotated for its position less the shift.
    """
    runs = st.tuples(st.integers(0, 15), st.integers(1, 90), st.sampled_from([0, 0, 5, -7]))
    shared = data.draw(st.lists(runs, max_size=4))
    works: list[Work] = []
    want: list[list[tuple[int, int]]] = []
    page = count(1)
    for _ in range(data.draw(st.integers(1, 4))):
        pieces = [(0, run) for run in shared] + [(1, run) for run in data.draw(st.lists(runs))]
        spans: list[Span] = []
        for at, (own, (offset, length, shift)) in enumerate(pieces):
            first = 1000 * at if not own else 10_000 * next(page)
            pages = tuple(range(first, first + 8))
            spans.append(Span(pages=pages, offset=offset, length=length, home=9, shift=shift))
        rows = data.draw(st.integers(1, 30))
        layout = Layout(spans)
        lead = layout.start(0) % PAGE
        own_pages = tuple(range(5_000_000 * (len(works) + 1), 5_000_000 * (len(works) + 1) + 4))
        spans.append(Span(pages=own_pages, offset=lead, length=rows, home=layout.end))
        layout.place(spans[-1])
        positions = np.arange(layout.end - rows, layout.end)
        works.append(
            Work(
                tokens=[0] * rows,
                slots=layout.slots,
                wanted=1,
                positions=positions,
                shifts=layout.shifts,
            )
        )
        places = [(int(slot), span.shift) for span in spans for slot in span.slots()]
        for i, position in enumerate(positions.tolist()):
            past = places[: len(places) - rows + i + 1]
            want.append(sorted((slot, position - shift) for slot, shift in past))
    plan = make_plan(works)
    turns = np.concatenate([plan.positions, plan.turns])
    owners = np.concatenate([np.arange(len(plan.positions)), plan.turned])
    got: list[list[tuple[int, int]]] = [[] for _ in want]
    for block in plan.blocks:
        for queries, slots, limits in zip(block.queries, block.slots, block.limits, strict=True):
            for query, limit in zip(queries.tolist(), limits.tolist(), strict=True):
                if query >= 0:
                    got[owners[query]] += [(s, int(turns[query])) for s in slots[:limit].tolist()]
    assert [sorted(row) for row in got] == want


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
