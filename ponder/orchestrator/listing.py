"""What strategies are made of: presets, operations with their settings, verifiers, metrics. A table
for people, plain data for programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from ponder.orchestrator.conditions import METRICS
from ponder.orchestrator.operations import Operation, operations
from ponder.orchestrator.presets import PRESETS
from ponder.runtime import InputError, unknown
from ponder.verifiers import STEP_VERIFIERS, VERIFIERS, StepVerifierKind, VerifierKind

_ROOM = 24
"""Columns, at least, for the words at the end of a row."""


def catalogue_data() -> dict[str, Any]:
    """All that a strategy can be made of; JSON values."""
    return {
        "presets": {
            name: {"description": p.description, "strategy": repr(p.expression)}
            for name, p in PRESETS.items()
        },
        "operations": {o.name: operation_data(o) for o in operations()},
        "verifiers": {
            n: {**_kind(k), "asks": k.asks, "together": k.together} for n, k in VERIFIERS.items()
        },
        "step_verifiers": {name: _kind(kind) for name, kind in STEP_VERIFIERS.items()},
        "metrics": METRICS,
    }


def operation_data(operation: Operation) -> dict[str, Any]:
    """JSON values."""
    return {
        "description": operation.description,
        "source": operation.source,
        "takes": [port.value for port in operation.takes],
        "gives": [port.value for port in operation.gives],
        "needs": {role: sorted(names) for role, names in operation.needs.items()},
        "parameters": [asdict(parameter) for parameter in operation.parameters],
    }


def catalogue_table(width: int = 80) -> str:
    """The same for people, by what flows in and out; `operation_table` has the settings."""
    blocks = {"Presets": [(name, p.description) for name, p in PRESETS.items()]}
    for found in operations():
        told = (found.name, f"{found.description} {found.source}.")
        blocks.setdefault(f"Operations: {_ways(found)}", []).append(told)
    blocks["Verifiers"] = [(k.name, _said(k)) for k in VERIFIERS.values()]
    blocks["Step verifiers"] = [(k.name, _said(k)) for k in STEP_VERIFIERS.values()]
    blocks["Metrics for when"] = list(METRICS.items())
    first = max(len(row[0]) for rows in blocks.values() for row in rows)
    shown = [_block(title, rows, first, width) for title, rows in blocks.items()]
    return "\n\n".join([*shown, "`ponder strategies NAME` tells the settings of an operation."])


def operation_table(name: str, width: int = 80) -> str:
    """One operation and its settings.

    Raises:
        InputError: there is none of that name; says the nearest.
    """
    known = {o.name: o for o in operations()}
    if name not in known:
        raise InputError(unknown("operation", name, known))
    found = known[name]
    about = [
        (found.name, found.description),
        ("source", found.source),
        ("flow", _ways(found)),
        *(("needs", f"{_list(names)} of the {role} engine") for role, names in _asked(found)),
    ]
    settings = [
        (p.name, p.kind, "required" if p.required else repr(p.default), p.meaning)
        for p in found.parameters
    ]
    rows = _rows([("setting", "type", "default", ""), *settings], width) if settings else []
    return "\n".join([*_rows(about, width), "", *rows]).rstrip()


def _kind(kind: VerifierKind | StepVerifierKind) -> dict[str, Any]:
    return {"description": kind.summary, "source": kind.source, "needs": sorted(kind.needs)}


def _said(kind: VerifierKind | StepVerifierKind) -> str:
    return f"{kind.summary}; needs {_list(kind.needs)}. {kind.source}."


def _asked(operation: Operation) -> list[tuple[str, frozenset[str]]]:
    return [(role, names) for role, names in operation.needs.items() if names]


def _ways(operation: Operation) -> str:
    takes, gives = (
        " or ".join(port.value for port in ports) for ports in (operation.takes, operation.gives)
    )
    return f"{takes} -> {gives}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _block(title: str, rows: Sequence[tuple[str, ...]], first: int, width: int) -> str:
    return "\n".join([title, *(f"  {line}" for line in _rows(rows, width - 2, first))])


def _rows(rows: Sequence[tuple[str, ...]], width: int, first: int = 0) -> list[str]:
    """Columns, the first at least `first` wide; the last one is wrapped."""
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    wide[0] = max(first, wide[0])
    indent = sum(wide) + 2 * len(wide)
    lines: list[str] = []
    for *cells, words in rows:
        start = "".join(f"{cell:<{room}}  " for cell, room in zip(cells, wide, strict=True))
        wrapped = wrap(
            words, max(_ROOM, width - indent), break_long_words=False, break_on_hyphens=False
        ) or [""]
        lines += [start + wrapped[0], *(" " * indent + line for line in wrapped[1:])]
    return [line.rstrip() for line in lines]
