"""Loads a public set from the Hugging Face hub through the `datasets` library, imported only here
and only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, cast

from ponder.evals.tasks import Example, Hub, Task
from ponder.runtime import InputError


def load_from_hub(task: Task, hub: Hub) -> list[Example]:
    """All examples of the task's set.

    Raises:
        InputError: the library is missing, the hub cannot be reached, or the columns have changed.
    """
    rows = _rows(task, hub)
    examples = [_example(task, hub, number, row) for number, row in enumerate(rows)]
    if not examples:
        raise InputError(f"{hub.dataset!r} ({hub.split}) is empty; {_instead(task)}")
    return examples


# Any: a row is whatever the set's columns hold; `_example` checks it.
def _rows(task: Task, hub: Hub) -> Iterable[Mapping[str, Any]]:
    try:
        # By name: what the library says of its types does not pass our checks.
        load = import_module("datasets").load_dataset
    except ImportError as error:
        raise InputError(
            f"the task {task.name!r} loads from the hub, which needs the package `datasets`: "
            f"pip install 'ponder[evals]'; {_instead(task)}"
        ) from error
    try:
        rows = load(hub.dataset, hub.config, split=hub.split)
    # OSError covers no network and no file; the library's own errors for a missing set, split or
    # configuration derive from OSError or ValueError.
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot load {hub.dataset!r} ({hub.split}) from the hub: "
            f"{_first_line(error)}; check the network, or {_instead(task)}"
        ) from error
    return cast("Iterable[Mapping[str, Any]]", rows)


def _example(task: Task, hub: Hub, number: int, row: Mapping[str, Any]) -> Example:
    wanted = (hub.question, hub.answer, hub.id, hub.solution, hub.level)
    missing = [c for c in wanted if c is not None and row.get(c) is None]
    if missing:
        raise InputError(
            f"{hub.dataset!r}, row {number}: no {missing[0]!r}; it has {', '.join(row)}; "
            f"the set has changed: {_instead(task)}"
        )
    return Example(
        id=str(row[hub.id]) if hub.id else f"{task.name}-{number}",
        question=str(row[hub.question]),
        answer=hub.read(str(row[hub.answer]).strip()),
        solution=str(row[hub.solution]) if hub.solution else None,
        level=str(row[hub.level]) if hub.level else None,
    )


def _instead(task: Task) -> str:
    return f"give the set as a file with --data PATH (JSONL) for {task.name!r}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
