"""Beam search over steps (Snell et al., arXiv 2408.03314; dossier S 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ponder.runtime import BranchPath
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch, check_division
from ponder.strategies.search.tree import End, Node, Tree, order


@dataclass(slots=True, kw_only=True, eq=False)
class Level:
    """Progress by levels: what is still to grow, and what grew so far."""

    tree: Tree = field(default_factory=Tree.planted)
    queue: list[Expansion] = field(default_factory=list[Expansion])
    waiting: int = 0
    """Expansions asked for and not told."""
    grown: list[int] = field(default_factory=list[int])
    goals: int = 0
    """Complete paths so far."""


def next_of(state: Level) -> Expansion | None:
    if not state.queue:
        return None
    state.waiting += 1
    return state.queue.pop(0)


def complete(state: Level, children: Sequence[Node]) -> bool:
    """Take in what one expansion grew; whether the whole level is there."""
    state.waiting -= 1
    state.grown += [child.number for child in children]
    state.goals += sum(child.end is End.GOAL for child in children)
    return not state.waiting and not state.queue


def level_up(state: Level) -> list[Node]:
    """The finished level's nodes that can grow, best first; the next level starts empty."""
    nodes = [state.tree[number] for number in state.grown]
    state.grown = []
    return sorted((node for node in nodes if node.end is None), key=order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam(TreeSearch[Level]):
    """Keep the best prefixes at each step, and grow each by several next steps."""

    source: ClassVar[str] = "Snell et al. 2024, arXiv 2408.03314"

    width: int = 16
    """Steps drawn a level."""
    expand: int = 4
    """Next steps drawn of each prefix that is kept: `width / expand` are."""

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

    def start(self, path: BranchPath) -> Level:
        return Level(queue=[Expansion(node=0, width=self.width)])

    def ask(self, state: Level) -> Expansion | None:
        return next_of(state)

    def tell(self, state: Level, expansion: Expansion, children: Sequence[Node]) -> None:
        state.tree.finish(expansion.node, End.EXPANDED)
        if not complete(state, children):
            return
        live = level_up(state)
        kept = live[: self.width // self.expand] if state.goals < self.width else []
        for node in live[len(kept) :]:
            state.tree.finish(node.number, End.PRUNED)
        state.queue = [Expansion(node=node.number, width=self.expand) for node in kept]
