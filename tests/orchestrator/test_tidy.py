"""Tidy trees: the laws of Reingold and Tilford on random trees, and drawings known by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.orchestrator.inspecting.tidy import tidy

CLOSE = 1e-6


def children_of(parents: list[int]) -> list[list[int]]:
    """Node i + 1 hangs below `parents[i]`, which is at most i."""
    found: list[list[int]] = [[] for _ in range(len(parents) + 1)]
    for child, parent in enumerate(parents, start=1):
        found[parent].append(child)
    return found


trees = (
    st.integers(0, 60)
    .flatmap(
        lambda n: st.tuples(*(st.integers(max(0, i - 6), i) | st.integers(0, i) for i in range(n)))
    )
    .map(lambda parents: children_of(list(parents)))
)


def levels(children: list[list[int]]) -> list[list[int]]:
    """Nodes by depth, in order."""
    found, level = [], [0]
    while level:
        found.append(level)
        level = [child for node in level for child in children[node]]
    return found


@given(trees)
def test_nodes_of_a_level_are_in_order_and_apart(children: list[list[int]]) -> None:
    x = tidy(children)
    assert min(x) == 0
    for level in levels(children):
        for left, right in pairwise(level):
            assert x[left] + 1 <= x[right] + CLOSE


@given(trees)
def test_parents_are_in_the_middle(children: list[list[int]]) -> None:
    x = tidy(children)
    for node, below in enumerate(children):
        if below:
            assert x[node] == pytest.approx((x[below[0]] + x[below[-1]]) / 2, abs=CLOSE)


@given(trees)
def test_a_tree_in_the_mirror_is_drawn_in_the_mirror(children: list[list[int]]) -> None:
    x, mirrored = tidy(children), tidy([below[::-1] for below in children])
    widest = max(x)
    assert [widest - place for place in mirrored] == pytest.approx(x, abs=CLOSE)


def shape(children: list[list[int]], node: int) -> tuple[object, ...]:
    return tuple(shape(children, child) for child in children[node])


def drawing(children: list[list[int]], x: list[float], node: int, at: float) -> list[float]:
    places = [round(x[node] - at, 4)]
    for child in children[node]:
        places += drawing(children, x, child, at)
    return places


@given(trees)
def test_equal_subtrees_look_equal(children: list[list[int]]) -> None:
    x = tidy(children)
    seen: dict[tuple[object, ...], list[float]] = {}
    for node in range(len(children)):
        drawn = drawing(children, x, node, x[node])
        assert seen.setdefault(shape(children, node), drawn) == pytest.approx(drawn, abs=1e-3)


def test_drawings_by_hand() -> None:
    assert tidy([[]]) == [0]
    assert tidy([[1, 2, 3], [], [], []]) == [1, 0, 1, 2]
    # A wide subtree, three leaves, a wide subtree: the leaves are spread evenly between.
    children = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [], [], [], [11, 12, 13, 14, 15]]
    children += [[] for _ in range(10)]
    x = tidy(children)
    assert x[1:6] == pytest.approx([2, 3.25, 4.5, 5.75, 7])
    # A narrow deep subtree fits under its neighbour.
    assert tidy([[1, 2], [3], [], [4], []]) == pytest.approx([0.5, 0, 1, 0, 0])


def test_long_and_wide_trees_are_drawn_without_recursion() -> None:
    n = 50_000
    assert set(tidy([[i + 1] for i in range(n)] + [[]])) == {0}
    wide = tidy([list(range(1, n + 1)), *([] for _ in range(n))])
    assert (wide[1], wide[n], wide[0]) == (0, n - 1, (n - 1) / 2)


def test_work_grows_as_the_tree_does() -> None:
    """Looks at `children` for each node a bounded number of times, whatever the shape: two combs
    beside each other, whose contours touch all the way down.
    """

    class Counted(list[list[int]]):
        looks = 0

        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            Counted.looks += 1
            return super().__getitem__(place)

    def looks(teeth: int) -> int:
        children: list[list[int]] = [[]]
        for _ in range(8):
            at = 0
            for _ in range(teeth):
                children[at] += [len(children)]
                children.append([])
                at = len(children) - 1
        Counted.looks = 0
        tidy(Counted(children))
        return Counted.looks

    assert looks(2000) < 2.1 * looks(1000)
