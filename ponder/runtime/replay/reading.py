"""Reads a recording: engines by name, rows by key, and what is near a row that is missing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.errors import InputError, unknown
from ponder.runtime.replay.asked import Asked
from ponder.runtime.replay.codec import Data, capabilities_from, usage_from
from ponder.runtime.replay.store import checksum, damaged, open_to_read
from ponder.runtime.values import Usage

_FEW = 200
"""Rows looked at to say what is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    value: Data
    charged: Usage
    told: Usage
    """What the result itself says that it cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A row of the same engine, kind and path below the seed."""

    seed: str
    past: str
    given: Data


class Recording:
    """Open for reading; others may go on writing."""

    def __init__(self, path: Path) -> None:
        """Raises `InputError`: there is no such file, or it is no recording of this format."""
        self.path = path
        self._connection = open_to_read(path)
        self._lock = Lock()

    def engine(self, wanted: str | None) -> tuple[str, Capabilities]:
        """Name and capabilities of the engine by that name, or that was opened as that model.

        Raises:
            InputError: none is, or several are; says which there are.
            PonderError: what is on record of it is damaged.
        """
        rows = self._all("SELECT name, model, about, checksum FROM engines ORDER BY name, model")
        named = [row for row in rows if wanted in (None, row[0], row[1])]
        names = sorted({name for name, *_ in named})
        if not names:
            known = {word for name, model, *_ in rows for word in (name, model)}
            raise InputError(f"{str(self.path)!r}: {unknown('model', str(wanted), known)}")
        if len(names) > 1:
            raise InputError(
                f"{str(self.path)!r} holds calls of {', '.join(map(repr, names))}; say which: give "
                "one of these names as the model"
            )
        name, model, about, kept = named[0]
        if checksum(name.encode(), model.encode(), about) != kept:
            raise damaged(self.path, f"what it says of engine {name!r}")
        return name, capabilities_from(json.loads(about))

    def find(self, key: bytes) -> Found | None:
        """Raises `PonderError`: the row is there, and damaged."""
        rows = self._all(
            "SELECT value, usage, checksum, kind, seed, steps FROM calls WHERE key = ?", key
        )
        if not rows:
            return None
        value, usage, kept, kind, seed, steps = rows[0]
        if not all(isinstance(part, bytes) for part in (value, usage, kept)) or (
            checksum(key, value, usage) != kept
        ):
            where = f"{seed} {steps}"
            raise damaged(self.path, f"the record of {kind} on branch {where} (key {key.hex()})")
        charged, told = json.loads(usage) or (None, None)
        return Found(
            value=json.loads(value),
            charged=usage_from(charged) if charged else Usage(),
            told=usage_from(told) if told else Usage(),
        )

    def near(self, engine: str, asked: Asked) -> list[Near]:
        rows = self._all(
            "SELECT seed, past, given FROM calls WHERE engine = ? AND steps = ? AND kind = ? "
            f"ORDER BY seed = ? DESC, past = ? DESC LIMIT {_FEW}",
            engine,
            asked.steps,
            asked.kind,
            asked.seed,
            asked.past,
        )
        return [Near(seed=seed, past=past, given=json.loads(given)) for seed, past, given in rows]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _all(self, query: str, *values: object) -> list[Any]:  # columns of each query's own
        with self._told(), self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise damaged(self.path, str(error)) from error
