"""The directory of one run: who writes it (`lock`), what the run is (`run.json`), one line for each
finished example (`records.jsonl`), and traces.

One process at a time writes a directory. A run that was killed resumes from it: its settings must
be the same, and what is recorded is neither asked nor counted again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from urllib.parse import quote

from ponder.evals.lines import LineFile
from ponder.evals.records import Record, from_line, to_line
from ponder.runtime import InputError

Settings = Mapping[str, object]
"""JSON values by name: task, strategy (YAML), seed, model, data (sha256), budget, versions."""

LONGEST_NAME = 200
"""Bytes of an id in a file name; file systems allow 255 in all."""


class RunDirectory:
    """Held by one process from entering to leaving `with`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Nothing is touched before `with`.

        Args:
            path: made where it does not exist.
            settings: what decides the answers; a resumed run must have the same.
        """
        self.path = path
        self._settings = settings
        self._records: dict[str, Record] = {}

    def __enter__(self) -> Self:
        """Take the lock, check the settings, read the records.

        Raises:
            InputError: another process holds it, it belongs to a run with other settings, it
                cannot be written, or a record in it is damaged.
        """
        with ExitStack() as held:
            try:
                (self.path / "traces").mkdir(parents=True, exist_ok=True)
                held.callback(os.close, _lock(self.path / "lock"))
                self._match_settings()
                self._file = LineFile(self.path / "records.jsonl")
            except OSError as error:
                raise InputError(
                    f"cannot use {str(self.path)!r} for a run: {error.strerror}; "
                    "give --out a directory that can be written"
                ) from error
            held.callback(self._file.close)
            self._records = read_records(self._file.path, self._file.lines)
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    @property
    def records(self) -> tuple[Record, ...]:
        """All that is on the disk, in the order it was finished."""
        return tuple(self._records.values())

    def append(self, record: Record) -> None:
        """Put a record on the disk.

        Raises:
            InputError: that example is recorded already, or the disk did not take it; all earlier
                records stay.
        """
        if record.id in self._records:
            raise InputError(f"{self.path}: the example {record.id!r} is recorded already")
        try:
            self._file.append(to_line(record))
        except OSError as error:
            raise InputError(
                f"the record of {record.id!r} was not saved in {self.path}: {error.strerror}; "
                f"the {len(self._records)} before it are safe: make room, then give the same "
                "command to go on from there"
            ) from error
        self._records[record.id] = record

    def trace(self, example: str) -> Path:
        return trace_of(self.path, example)

    def _match_settings(self) -> None:
        path = self.path / "run.json"
        now = json.loads(json.dumps(dict(self._settings)))
        if not path.exists():
            if (self.path / "records.jsonl").exists():
                raise InputError(f"{self.path} has records but no run.json; give another --out")
            _write_whole(path, json.dumps(now, indent=2).encode() + b"\n")
            return
        before = read_settings(path)
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                old, new = _short(before.get(name)), _short(now.get(name))
                raise InputError(
                    f"{self.path} holds a run with another {name}: {old} there, {new} now; "
                    "give the same settings to resume it, or another --out to start a new one"
                )


def trace_of(run: Path, example: str) -> Path:
    """Where the trace of an example goes: different ids, different files."""
    name = quote(example, safe=" ")
    if len(name) > LONGEST_NAME:
        # Longer than any short name can be, so that the two kinds cannot meet.
        name = f"{name[: LONGEST_NAME - 63]}~{sha256(example.encode()).hexdigest()}"
    return run / "traces" / f"{name}.jsonl"


def read_settings(path: Path) -> dict[str, object]:
    """What `run.json` says. Raises `InputError` where it is damaged."""
    try:
        stored: object = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); give another --out") from error
    if not isinstance(stored, dict):
        raise InputError(f"{path} is damaged: it holds no object; give another --out")
    return cast("dict[str, object]", stored)


def read_records(path: Path, lines: Sequence[bytes]) -> dict[str, Record]:
    """Records by their examples, in the order of the file's whole lines.

    Raises:
        InputError: a line is damaged, or an example is recorded twice; says where.
    """
    records: dict[str, Record] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            record = from_line(line)
        except InputError as error:
            raise InputError(
                f"{where} is damaged: {error}; mend or remove that line to ask its example "
                "again, or give another --out"
            ) from error
        if record.id in first:
            raise InputError(
                f"{where}: the example {record.id!r} is recorded twice, first on line "
                f"{first[record.id]}; remove one of the two"
            )
        first[record.id] = number
        records[record.id] = record
    return records


def _lock(path: Path) -> int:
    """An open file that keeps other processes out until it is closed or this process ends."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A longer id of an earlier holder must not show behind ours.
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = os.read(file, 32).decode().strip() or "unknown"
        os.close(file)
        raise InputError(
            f"{path.parent} is in use by another eval (process {holder}); wait for it or end it, "
            "or give another --out"
        ) from error
    except OSError:
        os.close(file)
        raise
    return file


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _write_whole(path: Path, content: bytes) -> None:
    """All or nothing, even when power fails."""
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    parent = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
