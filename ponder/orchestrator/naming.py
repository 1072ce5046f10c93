"""Stable names for the nodes of an expression: the user's own, else the operation, with `-2`, `-3`
for repeats in reading order.

Names seed the randomness of nodes, so they must not depend on anything but the expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.operations import operation_name
from ponder.runtime import InputError


def nodes(expression: Expression) -> Iterator[Step | Parallel | When]:
    """Every node, in reading order."""
    if isinstance(expression, Pipe):
        for part in expression.parts:
            yield from nodes(part)
        return
    yield expression
    if isinstance(expression, Parallel):
        for part in expression.parts:
            yield from nodes(part)
    elif isinstance(expression, When):
        yield from nodes(expression.then)
        yield from nodes(expression.otherwise)


def kind_of(node: Step | Parallel | When) -> str:
    if isinstance(node, Step):
        return operation_name(node.strategy)
    return "parallel" if isinstance(node, Parallel) else "when"


def named(expression: Expression) -> Expression:
    """The same expression with every node named.

    Raises:
        InputError: two nodes carry one name.
    """
    taken: set[str] = set()
    for node in nodes(expression):
        if node.name in taken:
            raise InputError(f"two nodes are named {node.name!r}; give each its own name")
        if node.name is not None:
            taken.add(node.name)
    return _filled(expression, taken)


def name_of(node: Step | Parallel | When) -> str:
    """The name that `named` gave."""
    if node.name is None:
        raise InputError(f"`{node!r}` has no name yet; take the expression from named()")
    return node.name


def _filled(part: Expression, taken: set[str]) -> Expression:
    """Names are given on the way down, before the children's: reading order."""
    if isinstance(part, Pipe):
        return Pipe(parts=tuple(_filled(p, taken) for p in part.parts))
    name = part.name or _free(kind_of(part), taken)
    if isinstance(part, Parallel):
        return Parallel(parts=tuple(_filled(p, taken) for p in part.parts), name=name)
    if isinstance(part, When):
        then = _filled(part.then, taken)
        return replace(part, then=then, otherwise=_filled(part.otherwise, taken), name=name)
    return replace(part, name=name)


def _free(stem: str, taken: set[str]) -> str:
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    taken.add(name)
    return name
