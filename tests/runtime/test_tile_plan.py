"""Plans for tiled kernels against a plain list of who sees what."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import BLOCK, Work
from ponder.runtime.runners.tile_plan import BLOCKS, TilePlan, make_tiles

TREES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 700), st.integers(1, 60)), min_size=1, max_size=12
)


def forked(tree: list[tuple[int, int, int]]) -> list[Work]:
    """Leaves of a random tree of forks (parent, tokens kept of it, tokens added), some moved."""
    pool = PagePool(2000)
    views = [View(pool)]
    views[0].grow(600)
    works: list[Work] = []
    for i, (parent, kept, added) in enumerate(tree):
        view = views[parent % len(views)].fork()
        view.truncate(kept)
        view.grow(added)
        views.append(view)
        rows = min(1 + added % 30, added) if added % 3 else 1
        blocks = -(-view.length // BLOCK)
        works.append(
            Work(
                tokens=[i] * rows,
                slots=view.slots.copy(),
                wanted=rows % 2,
                shifts=np.arange(blocks) // (1 + kept % 5) * (kept % 3) if kept % 2 else None,
            )
        )
    return works


def seen(plan: TilePlan, row: int) -> list[tuple[int, int]]:
    """The places that a row sees, in order, each with the angle of the query that reads it."""
    first_item = {int(start): item for item, (_, _, start, _) in enumerate(plan.items)}
    result: list[tuple[int, int]] = []
    for part in plan.parts[plan.starts[row] : plan.starts[row + 1]]:
        item = first_item[max(start for start in first_item if start <= part)]
        first, count, start, size = plan.items[item]
        query, limit, _, _ = plan.members[part]
        assert part < start + size
        assert 0 < limit <= count
        assert plan.query_rows[query] == row
        angle = int(plan.query_angles[query])
        result += [(int(place), angle) for place in plan.places[first : first + limit]]
    return result


@settings(max_examples=40, deadline=None)
@given(TREES, st.sampled_from([1, 4, 16]), st.sampled_from([1, 1000]))
def test_a_plan_shows_each_row_its_past_in_order(
    tree: list[tuple[int, int, int]], tile: int, kv_heads: int
) -> None:
    works = forked(tree)
    plan = make_tiles(works, tile=tile, kv_heads=kv_heads)
    row = 0
    for work in works:
        shifts = np.zeros(len(work.slots)) if work.shifts is None else work.shifts.repeat(BLOCK)
        for i in range(len(work.tokens)):
            stop = work.past + i + 1
            want = [
                (int(place), int(work.past + i - shift))
                for place, shift in zip(work.slots[:stop], shifts[:stop], strict=True)
            ]
            assert seen(plan, row) == want
            assert plan.homes[row] == work.past + i
            assert plan.writes[row] == work.slots[work.past + i]
            row += 1
    assert bool((plan.items[:, 3] <= tile).all())
    assert len(plan.wanted) == sum(work.wanted for work in works)


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_items_are_segments_beginnings_or_single_blocks(tree: list[tuple[int, int, int]]) -> None:
    """What kernels fold from the left into the same sums, however it was cut."""
    plan = make_tiles(forked(tree), tile=16, kv_heads=1)
    rows = len(plan.starts) - 1
    for row in range(rows):
        block = 0
        for at in range(plan.starts[row], plan.starts[row + 1]):
            part = plan.parts[at]
            item = np.searchsorted(plan.items[:, 2], part, side="right") - 1
            blocks = -(-int(plan.items[item, 1]) // BLOCK)
            assert plan.segments[at] == block // BLOCKS
            assert blocks == 1 or (block % BLOCKS == 0 and blocks <= BLOCKS)
            block += blocks


def test_a_shared_prefix_is_read_once() -> None:
    pool = PagePool(300)
    prefix = View(pool)
    prefix.grow(205)
    works: list[Work] = []
    for _ in range(64):
        view = prefix.fork()
        view.grow(3)
        works.append(Work(tokens=[0], slots=view.slots, wanted=1))
    plan = make_tiles(works, tile=64, kv_heads=8)
    assert plan.items[plan.items[:, 3] == 64].tolist() == [[0, 192, 0, 64]]
    assert len(plan.items) == 65
