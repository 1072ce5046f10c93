"""The search trees of a run, read back from its trace: what grew, in which order, why each node
ended, and which path became the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.orchestrator.trace import Event, Trace
from ponder.runtime import InputError

Place = tuple[int, ...]
"""Which child of which child; () is the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrownStep:
    """One node of a tree: a step, and where it hangs."""

    place: Place
    order: int
    """1 is the first that grew; 0 is the root."""
    parent: int | None
    """Its number, as the children's; None of the root."""
    children: tuple[int, ...]
    text: str
    tokens: int
    """Drawn for it."""
    judged: int
    """Tokens its verifier was given and scored for it."""
    ahead: int
    """Drawn beyond it to judge it by, and thrown away."""
    score: float | None
    """Of this step, in [0, 1]."""
    value: float | None
    """Of the path to here, in [0, 1]."""
    failure: str | None
    end: str
    """As `End` names it: "goal", "pruned", ...; "root" of the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrownTree:
    """What one search grew."""

    node: str
    """Of the graph."""
    verifier: str
    steps: tuple[GrownStep, ...]
    """By number, in the order of their growth; 0 is the root."""
    paths: tuple[int, ...]
    """The last steps of what the search answered with, best first."""
    chosen: int | None
    """The last step of the path that the run's answer is read from; None where it is another's."""

    def above(self, number: int | None) -> Iterator[int]:
        """The node and all above it, down from it to the root."""
        while number is not None:
            yield number
            number = self.steps[number].parent


def forest(trace: Trace) -> list[GrownTree]:
    """Every search tree of the run, in reading order.

    Raises:
        InputError: the trace does not tell how its trees grew, or is damaged.
    """
    nodes: dict[str, list[Event]] = {}
    for event in trace.events:
        if event["event"] == "node":
            nodes.setdefault(event["node"], []).append(event)
    paths = {event["node"]: event for event in trace.events if event["event"] == "paths"}
    for node in nodes:
        if node not in paths:
            raise InputError(
                f"the trace does not tell how the tree of {node!r} grew: a version of Ponder made "
                "it that did not keep that; run again"
            )
    try:
        return [_tree(trace, node, nodes.get(node, []), told) for node, told in paths.items()]
    except (KeyError, IndexError) as error:
        raise InputError(f"the trace is damaged: its searches lack {error}") from error


def _tree(trace: Trace, node: str, told: Sequence[Event], paths: Event) -> GrownTree:
    grown = sorted(told, key=lambda event: event["order"])
    numbers: dict[Place, int] = {(): 0}
    numbers |= {tuple(event["place"]): i for i, event in enumerate(grown, start=1)}
    children: list[list[int]] = [[] for _ in range(len(grown) + 1)]
    for place, number in sorted(numbers.items()):
        if place:
            children[numbers[place[:-1]]].append(number)
    leaves = tuple(numbers[tuple(place)] for place in paths["places"])
    return GrownTree(
        node=node,
        verifier=paths["verifier"],
        steps=(
            _root(children[0]),
            *(_step(e, numbers, children[i]) for i, e in enumerate(grown, start=1)),
        ),
        paths=leaves,
        chosen=_chosen(trace, node, leaves),
    )


def _root(children: Sequence[int]) -> GrownStep:
    return GrownStep(
        place=(),
        order=0,
        parent=None,
        children=tuple(children),
        text="",
        tokens=0,
        judged=0,
        ahead=0,
        score=None,
        value=None,
        failure=None,
        end="root",
    )


def _step(event: Event, numbers: Mapping[Place, int], children: Sequence[int]) -> GrownStep:
    place: Place = tuple(event["place"])
    return GrownStep(
        place=place,
        order=event["order"],
        parent=numbers[place[:-1]],
        children=tuple(children),
        text=event["text"],
        tokens=event["tokens"],
        judged=event["judged"],
        ahead=event["ahead"],
        score=event["score"],
        value=event["value"],
        failure=event["failure"],
        end=event["end"],
    )


def _chosen(trace: Trace, node: str, leaves: Sequence[int]) -> int | None:
    answers: list[Any] = [e["chosen"] for e in trace.events if e["event"] == "answer"]
    if not answers or answers[-1] is None or answers[-1][0] != node:
        return None
    index: int = answers[-1][1]
    return leaves[index]
