"""Pages, views and the prefix tree: counts never drift, shared pages are never written, and matches
equal a dictionary of prefixes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ponder.runtime import ModelError, PoolExhausted
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.spans import Span, cut
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import PAGE

PAGES = 24
tokens = st.lists(st.integers(0, 2), min_size=1, max_size=40)


def test_a_page_released_twice_or_retained_unheld_is_an_error() -> None:
    pool = PagePool(2)
    page = pool.allocate()
    pool.release([page])
    with pytest.raises(ModelError, match="released twice"):
        pool.release([page])
    with pytest.raises(ModelError, match="nobody holds"):
        pool.retain([page])


def test_an_empty_pool_says_so_and_sharing_is_counted() -> None:
    pool = PagePool(1)
    page = pool.allocate()
    with pytest.raises(PoolExhausted, match="1 KV pages"):
        pool.allocate()
    pool.retain([page])
    assert (pool.held, pool.shared) == (1, 1)
    pool.release([page, page])
    assert (pool.held, pool.shared, pool.free) == (0, 0, 1)


def test_a_fork_seals_a_partial_page_and_freedom_unseals_it() -> None:
    pool = PagePool(8)
    view = View(pool)
    view.grow(5)
    child = view.fork()
    assert pool.held == 1
    first = child.grow(1)[0]
    assert first // PAGE != view.slots[0] // PAGE
    child.release()
    assert view.grow(1)[0] == view.slots[4] + 1, "alone again, it goes on in its own page"


def test_truncating_gives_pages_back_and_overwrites_only_its_own() -> None:
    pool = PagePool(8)
    view = View(pool)
    view.grow(40)
    child = view.fork()
    view.truncate(20)
    assert pool.held == 3
    child.release()
    assert pool.held == 2
    assert view.grow(1)[0] == view.slots[19] + 1
    view.truncate(0)
    assert (view.length, pool.held) == (0, 0)


def test_growth_stays_one_span_and_cuts_rejoin() -> None:
    pool = PagePool(8)
    view = View(pool)
    for _ in range(50):
        view.grow(1)
    assert len(view.spans) == 1
    parts = [*cut(view.spans, 0, 21), *cut(view.spans, 21, 50)]
    assert cut(parts, 0, 50) == view.spans


def test_a_span_cut_anywhere_keeps_its_places() -> None:
    span = Span(pages=(7, 2, 5), offset=3, length=40)
    for start in range(40):
        for stop in range(start + 1, 41):
            assert span.cut(start, stop).slots().tolist() == span.slots()[start:stop].tolist()


class Tree(RuleBasedStateMachine):
    """A pool, views with tokens, and a tree, against a dictionary from places to what was written
    there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(PAGES)
        self.tree = RadixTree(self.pool)
        self.views: list[tuple[list[int], View]] = []
        self.memory: dict[int, tuple[int, ...]] = {}
        self.known: set[tuple[int, ...]] = set()

    def grow(self, run: list[int], view: View, more: list[int]) -> None:
        more = more[: view.fits()]
        for token in more:
            place = int(view.grow(1)[0])
            run.append(token)
            self.memory[place] = tuple(run)

    @rule(run=tokens)
    def open(self, run: list[int]) -> None:
        spans = self.tree.match(run)
        view = View(self.pool, spans)
        opened = run[: view.length]
        self.grow(opened, view, run[view.length :])
        self.views.append((opened, view))

    @precondition(lambda self: self.views)
    @rule(data=st.data(), more=tokens)
    def extend(self, data: st.DataObject, more: list[int]) -> None:
        self.grow(*data.draw(st.sampled_from(self.views)), more)

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        run, view = data.draw(st.sampled_from(self.views))
        self.views.append((list(run), view.fork()))

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        run, view = data.draw(st.sampled_from(self.views))
        keep = data.draw(st.integers(0, len(run)))
        del run[keep:]
        view.truncate(keep)

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def insert(self, data: st.DataObject) -> None:
        run, view = data.draw(st.sampled_from(self.views))
        self.tree.insert(run, view.spans)
        self.known |= {tuple(run[: i + 1]) for i in range(len(run))}

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.views) - 1))
        self.views.pop(index)[1].release()

    @rule(pages=st.integers(1, 6), everything=st.booleans())
    def evict(self, pages: int, everything: bool) -> None:
        free = self.pool.free
        assert self.tree.evict(pages, all_leaves=everything) == self.pool.free - free
        self.known = {run for run in self.known if self.matched(run) == len(run)}

    def matched(self, run: tuple[int, ...]) -> int:
        return sum(span.length for span in self.tree.match(run))

    @invariant()
    def every_page_is_free_or_held_by_somebody_known(self) -> None:
        holders = [0] * PAGES
        spans = [span for _, view in self.views for span in view.spans]
        spans += [span for _, edge in self.tree.nodes() for span in edge]
        for page in (page for span in spans for page in span.pages):
            holders[page] += 1
        assert holders == [self.pool.holders(page) for page in range(PAGES)]
        assert self.pool.free + self.pool.held == PAGES
        assert self.pool.shared == sum(count > 1 for count in holders)

    @invariant()
    def every_view_finds_its_own_tokens(self) -> None:
        for run, view in self.views:
            for i, place in enumerate(view.slots.tolist()):
                assert self.memory[place] == tuple(run[: i + 1])

    @invariant()
    def matches_are_the_longest_known_prefix_and_hold_its_tokens(self) -> None:
        for run in [tuple(run) for run, _ in self.views]:
            longest = max((i for i in range(len(run) + 1) if run[:i] in self.known), default=0)
            slots = [slot for span in self.tree.match(run) for slot in span.slots().tolist()]
            assert [self.memory[slot] for slot in slots] == [run[: i + 1] for i in range(longest)]


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_eviction_takes_the_least_recently_used_first() -> None:
    pool = PagePool(6)
    tree = RadixTree(pool)
    for start in (100, 200, 300):
        view = View(pool)
        view.grow(2 * PAGE)
        tree.insert(range(start, start + 2 * PAGE), view.spans)
        view.release()
    tree.match(range(100, 110))
    assert tree.evict(1) == 2
    assert [bool(tree.match([start])) for start in (100, 200, 300)] == [True, False, True]


def test_eviction_spares_what_views_hold() -> None:
    pool = PagePool(4)
    tree = RadixTree(pool)
    view = View(pool)
    view.grow(PAGE)
    tree.insert(range(PAGE), view.spans)
    assert tree.evict(1) == 0
    assert tree.match(range(PAGE))
    view.release()
    assert tree.evict(1) == 1


def test_salts_part_the_tree() -> None:
    pool = PagePool(2)
    tree = RadixTree(pool)
    view = View(pool)
    view.grow(4)
    tree.insert([1, 2, 3, 4], view.spans, salt="adapter")
    assert not tree.match([1, 2, 3, 4])
    assert tree.match([1, 2, 3, 4], salt="adapter") == view.spans


def test_salts_keep_apart_through_splits_and_eviction() -> None:
    pool = PagePool(8)
    tree = RadixTree(pool)
    views = {salt: View(pool) for salt in ("", "one", "two")}
    for salt, view in views.items():
        view.grow(PAGE)
        tree.insert(range(PAGE), view.spans, salt=salt)
        tree.insert([0, 1, 9], view.spans, salt=salt)
    for salt, view in views.items():
        (span,) = tree.match(range(PAGE), salt=salt)
        assert span.pages == view.spans[0].pages
    views["one"].release()
    assert tree.evict(8) == 1
    assert not tree.match(range(PAGE), salt="one")
    assert tree.match(range(PAGE), salt="two")


def test_eviction_looks_at_what_it_takes_and_not_at_the_whole_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves, held = 2000, 50
    pool = PagePool(leaves)
    tree = RadixTree(pool)
    looked: list[object] = []
    idle: Callable[[RadixTree, Any], bool] = RadixTree._idle  # nodes are the tree's own

    def watched(tree: RadixTree, node: object) -> bool:
        looked.append(node)
        return idle(tree, node)

    monkeypatch.setattr(RadixTree, "_idle", watched)
    views: list[View] = []
    for i in range(leaves):
        view = View(pool)
        view.grow(PAGE)
        tree.insert(range(i * PAGE, (i + 1) * PAGE), view.spans)
        if i < held:
            views.append(view)
        else:
            view.release()
    assert tree.evict(1) == 1
    assert len(looked) == held + 1, "the oldest ones are in use"
    looked.clear()
    for _ in range(100):
        assert tree.evict(1) == 1
    assert len(looked) == 100
    assert tree.evict(leaves) == leaves - held - 101
    assert all(tree.match(range(i * PAGE, (i + 1) * PAGE)) for i in range(held))
