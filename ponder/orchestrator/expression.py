"""A strategy as a value: steps, joined by `|`, `parallel` and `when`. Frozen, comparable, and
printed as the text that makes it.

An expression only says what is to be done; names, ports and engines are checked elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, cast

from ponder.orchestrator.conditions import Condition
from ponder.orchestrator.operations import LEADING, METHODS, changed_settings, operation_name
from ponder.runtime import InputError
from ponder.strategies import Strategy

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class Composable:
    """Joins expressions with `|`."""

    __slots__ = ()

    def __or__(self, other: Expression) -> Pipe:
        if not isinstance(other, Composable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise InputError(
                f"cannot pipe into {other!r}; pipe into a step, such as vote() with its parentheses"
            )
        return Pipe(parts=(self, other))  # type: ignore[arg-type]  # every Composable is one of the four


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Composable):
    """One method."""

    strategy: Strategy
    name: str | None = None
    """The user's own; None lets the graph name it after its operation."""

    def __post_init__(self) -> None:
        check_name(self.name)

    def __repr__(self) -> str:
        operation = operation_name(self.strategy)
        if METHODS.get(operation) is not type(self.strategy):
            return _call("step", [repr(self.strategy)], self.name)
        settings = changed_settings(self.strategy)
        leading = LEADING.get(operation)
        first: object = getattr(self.strategy, leading) if leading else ()
        given = cast(tuple[object, ...], first) if isinstance(first, tuple) else (first,)
        words = list(map(repr, given))
        words += [f"{key}={value!r}" for key, value in settings.items() if key != leading]
        return _call(operation, words, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe(Composable):
    """Parts one after another; a pipe in a pipe is the same pipe."""

    parts: tuple[Expression, ...]

    def __post_init__(self) -> None:
        flat = tuple(_flattened(self.parts))
        if len(flat) < 2:
            raise InputError(f"a pipe of {len(flat)} parts; it must have at least 2")
        object.__setattr__(self, "parts", flat)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Composable):
    """Parts side by side; their candidates are joined."""

    parts: tuple[Expression, ...]
    name: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.parts:
            raise InputError("parallel() has no parts; give it at least 1")

    def __repr__(self) -> str:
        return _call("parallel", map(repr, self.parts), self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class When(Composable):
    """One of two ways, chosen once all candidates are there."""

    condition: Condition
    then: Expression
    otherwise: Expression
    name: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)

    def __repr__(self) -> str:
        words = [repr(self.condition), f"then={self.then!r}", f"otherwise={self.otherwise!r}"]
        return _call("when", words, self.name)


Expression: TypeAlias = Step | Pipe | Parallel | When


def check_name(name: str | None) -> None:
    if name is not None and not _NAME.fullmatch(name):
        raise InputError(
            f"name is {name!r}; it must start with a letter and hold letters, digits, - and _, "
            "64 at most"
        )


def _flattened(parts: Iterable[Expression]) -> Iterable[Expression]:
    for part in parts:
        yield from part.parts if isinstance(part, Pipe) else (part,)


def _call(function: str, words: Iterable[str], name: str | None) -> str:
    return f"{function}({', '.join([*words, *([f'name={name!r}'] if name else [])])})"
