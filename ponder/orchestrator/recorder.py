"""Collects the events of a run under way and puts them into one canonical order.

The order is: node in reading order; within it calls by branch path and their sequence on that
branch, then decisions by content, then the answer. Arrival order never shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ponder.orchestrator.trace import Event
from ponder.runtime import BranchPath

OnEvent = Callable[[Event], None]

_CALL, _DECISION, _ANSWER = range(3)


class Recorder:
    """See the module. `now` is the run's clock, in seconds since it began."""

    def __init__(
        self, order: Mapping[str, int], now: Callable[[], float], on_event: OnEvent | None
    ) -> None:
        self._order = order
        self._now = now
        self._on_event = on_event
        self._events: list[tuple[tuple[Any, ...], Event]] = []  # keys of mixed depth

    def call(self, node: str, path: BranchPath, sequence: int, event: dict[str, Any]) -> None:
        """Something on a branch: a call to an engine, or its refusal."""
        key = (self._order[node], _CALL, rank(path.steps), sequence)
        event = {**event, "node": node, "path": list(path.steps), "at": self._now()}
        self._keep(key, event)

    def decision(self, node: str, event: str, fields: Mapping[str, object]) -> None:
        key = (self._order[node], _DECISION, rank([event, fields]))
        self._keep(key, {"event": event, "node": node, **fields, "at": self._now()})

    def answer(self, node: str, event: dict[str, Any]) -> None:
        key = (self._order[node], _ANSWER)
        self._keep(key, {"event": "answer", "node": node, **event, "at": self._now()})

    def events(self) -> list[Event]:
        return [event for _, event in sorted(self._events, key=lambda pair: pair[0])]

    @property
    def last(self) -> float:
        """Seconds at the last event; 0 before any."""
        return max((event["at"] for _, event in self._events), default=0.0)

    def _keep(self, key: tuple[Any, ...], event: Event) -> None:
        self._events.append((key, event))
        if self._on_event is not None:
            self._on_event(event)


_PLAIN: Mapping[type, int] = {bool: 1, int: 1, float: 1, str: 2}
"""Types met most, found faster than by what they are instances of."""


def rank(value: object) -> tuple[Any, ...]:
    """An order over JSON values of any kind: null, numbers, strings, lists, objects."""
    place = _PLAIN.get(type(value))
    if place is not None:
        return (place, value)
    if value is None:
        return (0,)
    if isinstance(value, int | float):
        return (1, value)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, list | tuple):
        return (3, tuple(map(rank, cast(Sequence[object], value))))
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, object], value).items()
        return (4, tuple((k, rank(v)) for k, v in sorted(pairs)))
    raise TypeError(f"{value!r} is not a JSON value, so it cannot go into a trace")
