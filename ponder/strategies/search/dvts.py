"""Diverse verifier tree search: greedy subtrees that never compete (search-and-learn's DVTS;
dossier S 4.7).

No subtree waits for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ponder.runtime import BranchPath
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch, check_division
from ponder.strategies.search.tree import End, Node, Tree, order


@dataclass(slots=True, kw_only=True, eq=False)
class Subtrees:
    tree: Tree = field(default_factory=Tree.planted)
    queue: list[Expansion] = field(default_factory=list[Expansion])
    newest: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """By subtree, its last steps: what it answers with."""
    rooted: int = 0
    """Subtrees that have their first steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dvts(TreeSearch[Subtrees]):
    """Grow several subtrees side by side, each by its own best step."""

    source: ClassVar[str] = "Beeching, Tunstall and Rush 2024, search-and-learn"

    width: int = 16
    """Steps drawn at once, over all subtrees."""
    expand: int = 4
    """Next steps drawn in a subtree: there are `width / expand` subtrees."""

    def __post_init__(self) -> None:
        self.check("width", "expand")
        check_division(self.width, self.expand)

    @property
    def in_flight(self) -> None:
        return None

    @property
    def steps(self) -> int:
        return self.width * self.depth

    @property
    def finals(self) -> int:
        return self.width

    def start(self, path: BranchPath) -> Subtrees:
        lanes = range(self.width // self.expand)
        return Subtrees(queue=[Expansion(node=0, width=self.expand, lane=i) for i in lanes])

    def ask(self, state: Subtrees) -> Expansion | None:
        return state.queue.pop(0) if state.queue else None

    def tell(self, state: Subtrees, expansion: Expansion, children: Sequence[Node]) -> None:
        self._close(state, expansion)
        if children:
            state.newest[expansion.lane] = [child.number for child in children]
        best = next(iter(sorted(children, key=order)), None)
        for child in children:
            if child is not best:
                state.tree.finish(child.number, End.PRUNED)
        if best is not None and best.end is None:
            state.queue.append(Expansion(node=best.number, width=self.expand, lane=expansion.lane))

    def leaves(self, state: Subtrees) -> list[Node]:
        found = [state.tree[number] for last in state.newest.values() for number in last]
        return sorted(found, key=lambda node: node.place)

    def _close(self, state: Subtrees, expansion: Expansion) -> None:
        """The root is done when all subtrees have their first steps."""
        if expansion.node == 0:
            state.rooted += 1
        if expansion.node != 0 or state.rooted == self.width // self.expand:
            state.tree.finish(expansion.node, End.EXPANDED)
