"""What of a tree is drawn: all of it, or its best paths, with the rest in stubs."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.orchestrator.inspecting.forest import GrownTree

MOST = 24
"""Paths that stay when a tree is folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One thing that is drawn: a node, or a stub that stands for nodes."""

    number: int | None
    """Of the node; None for a stub."""
    order: int
    """Of its growth; of a stub, that of the first behind it."""
    depth: int
    children: tuple[int, ...] = ()
    """Numbers of marks."""
    hidden: int = 0
    """Nodes that a stub stands for."""
    tokens: int = 0
    """Drawn for those."""


def whole(tree: GrownTree) -> list[Mark]:
    """Every node a mark; the root first."""
    return [
        Mark(number=i, order=step.order, depth=len(step.place), children=step.children)
        for i, step in enumerate(tree.steps)
    ]


def folded(tree: GrownTree) -> list[Mark]:
    """The root first, the answer's path, and the best `MOST` that the search answered with; what
    else hangs below one node is one stub.
    """
    live = _live(tree)
    marks: list[Mark] = []
    places: dict[int, int] = {}
    # Children after their parents, so that backwards all children are there.
    for number in sorted(live, key=lambda i: (len(tree.steps[i].place), i), reverse=True):
        step = tree.steps[number]
        below = [places[child] for child in step.children if child in live]
        dead = [child for child in step.children if child not in live]
        if dead:
            below.append(len(marks))
            marks.append(_stub(tree, dead, len(step.place) + 1))
        places[number] = len(marks)
        depth = len(step.place)
        marks.append(Mark(number=number, order=step.order, depth=depth, children=tuple(below)))
    return _turned(marks)


def _live(tree: GrownTree) -> set[int]:
    live = {0, *tree.above(tree.chosen)}
    for leaf in tree.paths[:MOST]:
        live.update(tree.above(leaf))
    return live


def _stub(tree: GrownTree, roots: list[int], depth: int) -> Mark:
    hidden: list[int] = []
    stack = list(roots)
    while stack:
        number = stack.pop()
        hidden.append(number)
        stack.extend(tree.steps[number].children)
    return Mark(
        number=None,
        order=min(tree.steps[i].order for i in hidden),
        depth=depth,
        hidden=len(hidden),
        tokens=sum(tree.steps[i].tokens for i in hidden),
    )


def _turned(marks: list[Mark]) -> list[Mark]:
    """The same with the last one, the root, first."""
    last = len(marks) - 1
    return [
        Mark(
            number=m.number,
            order=m.order,
            depth=m.depth,
            children=tuple(last - child for child in m.children),
            hidden=m.hidden,
            tokens=m.tokens,
        )
        for m in reversed(marks)
    ]
