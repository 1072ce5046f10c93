"""A named expression as nodes and typed edges, for pictures and other tools.

An expression is a tree, so a graph made of one has no cycles.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.orchestrator.checking import check
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.naming import kind_of, name_of, nodes
from ponder.orchestrator.ports import takes
from ponder.strategies import Port

START, END = "question", "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    name: str
    operation: str
    text: str
    """The settings, as written in Python; of `when`, the condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    source: str
    """A node's name; "" is the question."""
    target: str
    """A node's name; "" is the answer."""
    port: Port
    label: str = ""
    """Which way of a `when`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    nodes: tuple[Node, ...]
    """In reading order."""
    edges: tuple[Edge, ...]


def graph(expression: Expression) -> Graph:
    """Raises `InputError` where the expression cannot run."""
    whole = check(expression)
    drawing = _Drawing()
    ends = drawing.draw(whole, [_End(source="", port=Port.QUESTION)])
    drawing.connect(ends, "")
    return Graph(
        nodes=tuple(
            Node(name=name_of(node), operation=kind_of(node), text=_text(node))
            for node in nodes(whole)
        ),
        edges=tuple(drawing.edges),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where the next node's edges start."""

    source: str
    port: Port
    label: str = ""


class _Drawing:
    def __init__(self) -> None:
        self.edges: list[Edge] = []

    def connect(self, ends: list[_End], target: str) -> None:
        self.edges += [
            Edge(source=e.source, target=target, port=e.port, label=e.label) for e in ends
        ]

    def draw(self, part: Expression, ends: list[_End]) -> list[_End]:
        """Add the edges of `part`; what leaves it."""
        if isinstance(part, Pipe):
            for piece in part.parts:
                ends = self.draw(piece, ends)
            return ends
        name = name_of(part)
        if isinstance(part, Step):
            self.connect(ends, name)
            return [_End(source=name, port=part.strategy.gives)]
        if isinstance(part, Parallel):
            for child in part.parts:
                self.connect(self.draw(child, _entering(child, ends)), name)
            return [_End(source=name, port=Port.CANDIDATES)]
        self.connect(ends, name)
        return self._ways(part, name)

    def _ways(self, part: When, name: str) -> list[_End]:
        ends: list[_End] = []
        for label, arm in (("then", part.then), ("otherwise", part.otherwise)):
            ends += self.draw(arm, [_End(source=name, port=takes(arm), label=label)])
        return ends


def _entering(child: Expression, ends: list[_End]) -> list[_End]:
    if takes(child) is Port.QUESTION:
        return [_End(source="", port=Port.QUESTION)]
    return ends


def _text(node: Step | Parallel | When) -> str:
    if isinstance(node, When):
        return repr(node.condition)
    return kind_of(node) if isinstance(node, Parallel) else repr(_unnamed(node))


def _unnamed(step: Step) -> Step:
    return Step(strategy=step.strategy)
