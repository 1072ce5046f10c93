"""What flows into and out of an expression, and whether its parts fit each other."""

from __future__ import annotations

from collections.abc import Iterator

from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.naming import kind_of, name_of
from ponder.strategies import Port


def takes(part: Expression) -> Port:
    """What `part` reads when it stands where it may choose."""
    if isinstance(part, Step):
        return part.strategy.takes
    if isinstance(part, Pipe):
        return takes(part.parts[0])
    if isinstance(part, When) or any(takes(p) is Port.CANDIDATES for p in part.parts):
        return Port.CANDIDATES
    return Port.QUESTION


def gives(part: Expression) -> Port:
    if isinstance(part, Step):
        return part.strategy.gives
    if isinstance(part, Pipe):
        return gives(part.parts[-1])
    return gives(part.then) if isinstance(part, When) else Port.CANDIDATES


def restarts(part: Expression, incoming: Port = Port.QUESTION) -> Iterator[Expression]:
    """Arms and children that start from the question again although candidates reach them."""
    if isinstance(part, Pipe):
        for piece in part.parts:
            yield from restarts(piece, incoming)
            incoming = gives(piece)
        return
    for arm in arms(part):
        again = incoming is Port.CANDIDATES and takes(arm) is Port.QUESTION
        if again:
            yield arm
        yield from restarts(arm, Port.QUESTION if again else incoming)


def arms(part: Expression) -> tuple[Expression, ...]:
    """The parts that stand side by side in `part`."""
    if isinstance(part, Parallel):
        return part.parts
    return (part.then, part.otherwise) if isinstance(part, When) else ()


def mismatches(expression: Expression) -> Iterator[str]:
    """What does not fit in a named expression, each with its fix."""
    yield from _inside(expression, Port.QUESTION, before=None)
    if gives(expression) is not Port.ANSWER:
        yield (
            f"{_shown(_last(expression))} gives {gives(expression).value}, but a strategy ends "
            "with an answer; append `| vote()`"
        )


def _inside(part: Expression, incoming: Port, before: Expression | None) -> Iterator[str]:
    if isinstance(part, Pipe):
        for piece in part.parts:
            yield from _inside(piece, incoming, before)
            incoming, before = gives(piece), piece
    elif isinstance(part, Step):
        if part.strategy.takes is not incoming:
            yield _misfit(part, incoming, before)
    elif isinstance(part, Parallel):
        yield from _in_parallel(part, incoming, before)
    else:
        yield from _in_when(part, incoming, before)


def _in_parallel(part: Parallel, incoming: Port, before: Expression | None) -> Iterator[str]:
    if incoming is Port.ANSWER or (
        incoming is Port.CANDIDATES and takes(part) is not Port.CANDIDATES
    ):
        yield _misfit(part, incoming, before)
        return
    for child in part.parts:
        yield from _in_arm(child, incoming, before)
        if gives(child) is not Port.CANDIDATES:
            yield (
                f"{_shown(_last(child))} gives {gives(child).value} inside "
                f"{_shown(part)}, which joins candidates; move it behind the parallel"
            )


def _in_when(part: When, incoming: Port, before: Expression | None) -> Iterator[str]:
    if incoming is not Port.CANDIDATES:
        yield _misfit(part, incoming, before)
        return
    for arm in arms(part):
        yield from _in_arm(arm, incoming, before)
    if gives(part.then) is not gives(part.otherwise):
        yield (
            f"{_shown(part)} gives {gives(part.then).value} one way and "
            f"{gives(part.otherwise).value} the other; end both ways with the same, "
            "for example with `| vote()`"
        )


def _in_arm(arm: Expression, incoming: Port, before: Expression | None) -> Iterator[str]:
    again = takes(arm) is Port.QUESTION and incoming is Port.CANDIDATES
    yield from _inside(arm, Port.QUESTION if again else incoming, None if again else before)


def _misfit(part: Step | Parallel | When, incoming: Port, before: Expression | None) -> str:
    giver = _shown(_last(before)) if before is not None else "the start of the strategy"
    wanted = takes(part)
    if incoming is Port.QUESTION:
        fix = "put `sample(n) |` before it"
    elif incoming is Port.ANSWER:
        fix = f"an answer ends a strategy; move {_shown(part)} before it or leave it out"
    else:
        fix = "run both side by side with `parallel(..., ...)`, or leave one out"
    return f"{giver} gives {incoming.value}, but {_shown(part)} takes {wanted.value}; {fix}"


def _last(part: Expression) -> Step | Parallel | When:
    while isinstance(part, Pipe):
        part = part.parts[-1]
    return part


def _shown(part: Expression) -> str:
    node = _last(part)
    name, kind = name_of(node), kind_of(node)
    return f"`{kind}`" if name == kind else f"`{kind}` (node {name!r})"
