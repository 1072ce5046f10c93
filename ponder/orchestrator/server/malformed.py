"""What is wrong with a request that is not of its form, told to who wrote it: the place, the value
and what belongs there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from ponder.orchestrator.server.refusals import Refusal, invalid
from ponder.runtime import unknown

LONGEST = 80
"""Characters of a value that are shown."""


def told(settings: Iterable[str], error: ValidationError, raw: bytes) -> Refusal:
    """The first fault of a request with these settings; among readings of one value (a text, or
    parts of one) of the reading that got furthest.
    """
    faults = error.errors(include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return invalid(f"the body: {faults[0]['msg']}")
    body: Any = json.loads(raw)
    paths = [_path(body, fault["loc"]) for fault in faults]
    first = paths[0]
    best = max(
        (i for i, path in enumerate(paths) if path[: len(first)] == first),
        key=lambda i: (len(paths[i]), -i),
    )
    fault, path = faults[best], paths[best]
    place = ".".join(map(str, path))
    if fault["type"] == "extra_forbidden" and len(path) == 1:
        return invalid(unknown("setting", place, settings), field=place)
    return invalid(_words(fault["type"], fault["msg"], place, fault["input"]), field=place or None)


def _words(kind: str, message: str, place: str, value: object) -> str:
    where = place or "the body"
    if kind == "missing":
        return f"{where} is missing; it is required"
    if kind == "extra_forbidden":
        return f"{where} is nothing that is known here; leave it out"
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
    return f"{where} is {shown}; {message.replace('Input should', 'it should', 1)}"


def _path(body: Any, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:  # Any: JSON
    """Of the place in the JSON; a fault's place also names the reading of a value that it is of."""
    path: list[int | str] = []
    for place, step in enumerate(loc, start=1):
        inside = _inside(body, step)
        if step in inside or (place == len(loc) and isinstance(body, dict)):
            path.append(step)
            body = inside.get(step)
    return tuple(path)


def _inside(body: Any, step: int | str) -> Mapping[int | str, Any]:
    """What a step may lead to."""
    if isinstance(body, dict):
        return cast("dict[int | str, Any]", body)
    items: Sequence[Any] = cast("Sequence[Any]", body) if isinstance(body, list) else ()
    return {step: items[step]} if isinstance(step, int) and step < len(items) else {}
