"""The record of one run: JSON objects, one a line, in an order that does not depend on timing.

The first event is the run's header, the last its result; every number of the result can be
recomputed from the events between (`recount`). Knows how traces are kept, not what events mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.orchestrator.files import write_whole
from ponder.runtime import InputError

Event = Mapping[str, Any]
"""Values are JSON values; the shape is told by `event`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All events of one run."""

    events: tuple[Event, ...]

    def jsonl(self) -> str:
        return "".join(json.dumps(event) + "\n" for event in self.events)

    def write(self, path: Path) -> None:
        """All or nothing: a reader never sees half a trace.

        Raises:
            PonderError: the system refused; the text says why.
        """
        write_whole(path, self.jsonl(), "trace")


def read_trace(path: Path) -> Trace:
    """Read back what `Trace.write` wrote.

    Raises:
        InputError: there is no such file, or it is cut short or damaged; says where.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"trace {str(path)!r} cannot be read: {error}") from error
    events = tuple(_event(path, i, line) for i, line in enumerate(text.splitlines(), start=1))
    if not events or events[0]["event"] != "run":
        raise InputError(f"{str(path)!r} is not a trace: it does not start with a run event")
    if events[-1]["event"] != "result":
        raise InputError(f"trace {str(path)!r} is cut short: it does not end with a result event")
    return Trace(events=events)


def _event(path: Path, line: int, text: str) -> Event:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"trace {str(path)!r} is damaged in line {line}: {error}") from error
    if not isinstance(event, dict) or "event" not in event:
        raise InputError(f"trace {str(path)!r} is damaged in line {line}: not an event")
    return event  # pyright: ignore[reportUnknownVariableType] - JSON just read
