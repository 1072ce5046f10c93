"""A table of the particles' benchmark: what each of its parts gives.

A part is a module of its own with a function `tables(given) -> Iterator[Table]`, named in
`benchmarks/particles.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks.overhead.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was asked for on the command line."""

    quick: bool = False
    """Little of everything; the numbers mean nothing."""
    items: int = 150
    rounds: int = 5
    picture: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    columns: Sequence[str]
    """Of the cells behind the row's name."""
    rows: Sequence[tuple[str, Sequence[object]]]
    """A name, and cells: numbers, text, None where there is nothing, or a dataclass that can be
    printed.
    """
    notes: Sequence[str] = ()
    """What to know of it: settings, or why something is missing."""
    floors: Sequence[Verdict] = ()

    def as_json(self) -> dict[str, object]:
        rows = {name: list(map(_plain, cells)) for name, cells in self.rows}
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": rows,
            "notes": list(self.notes),
            "floors": [asdict(floor) for floor in self.floors],
        }

    def __str__(self) -> str:
        lines = [["", *self.columns]]
        lines += [[name, *map(_shown, cells)] for name, cells in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        floors = [f"floor {MET[floor.met]}: {floor.floor} ({floor.found})" for floor in self.floors]
        return "\n".join([self.title, *told, *self.notes, *floors])


MET = {True: "met", False: "NOT met", None: "?"}


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:,.4g}" if isinstance(cell, float) else str(cell)


def _plain(cell: object) -> Any:  # Any: JSON
    return asdict(cell) if is_dataclass(cell) and not isinstance(cell, type) else cell
