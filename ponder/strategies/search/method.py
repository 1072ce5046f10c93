"""The seam between a search method and whatever grows its tree: ask, grow, tell.

A method decides from its state alone, so what it does depends on neither clocks nor who finished
first. Knows no engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ponder.runtime import BranchPath
from ponder.strategies.search.tree import Node, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Draw `width` next steps of one node."""

    node: int
    width: int
    lane: int = 0
    """For the method's own use: which subtree asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An expansion, with its children's places."""

    expansion: Expansion
    first: int
    """Place of the first child; the others' follow."""


class Progress(Protocol):
    """A method's state: dataclasses of plain values around a tree, whose fields' types say how to
    read them back from JSON (`saving.py`).
    """

    @property
    def tree(self) -> Tree: ...


State = TypeVar("State", bound=Progress)


class Method(Protocol[State]):
    """A search method. Its settings are frozen; its progress is a value passed in and out."""

    @property
    def in_flight(self) -> int | None:
        """Expansions that may be under way at once, of a method for which the order of being told
        matters: then it is told in the order it asked. None where the order does not matter, and
        each is told at once.
        """
        ...

    @property
    def steps(self) -> int:
        """Steps drawn, at most."""
        ...

    def start(self, path: BranchPath) -> State:
        """No steps yet; `path` is the root of the method's own draws, if it makes any."""
        ...

    def ask(self, state: State) -> Expansion | None:
        """What to grow next; None when nothing can be until something is told, or ever."""
        ...

    def tell(self, state: State, expansion: Expansion, children: Sequence[Node]) -> None:
        """These grew; they are in the tree already. Fewer than asked for where the budget ended."""
        ...

    def leaves(self, state: State) -> list[Node]:
        """What to answer with, now: complete paths first."""
        ...
