"""A thread that puts rows into a recording: what waits is committed together, so that a hundred
calls at once cost about what one does, and no event loop waits for a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from ponder.runtime.errors import ModelError, PonderError
from ponder.runtime.replay.store import Row, checksum, damaged, open_to_write, tidy, transaction

_TOGETHER = 256
"""Rows a transaction, at most."""
_PUT = f"""INSERT INTO calls VALUES ({", ".join("?" * 11)}) ON CONFLICT (key) DO NOTHING"""


@dataclass(slots=True, eq=False)
class _Job:
    row: Row
    done: Future[None] = field(default_factory=Future[None])


class Writer:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """Raises `InputError` where the file cannot be written, or is something else."""
        self._path = path
        self._connection = open_to_write(path)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._failure: PonderError | None = None
        self.open = True
        self._door = Lock()
        """Nothing goes into the queue behind its end."""
        self.differing = 0
        """Rows whose call was on record with another result, which was kept."""
        self._thread = Thread(target=self._run, name=f"recording {path.name}", daemon=True)
        self._thread.start()

    def introduce(self, name: str, model: str, about: bytes) -> bytes:
        """Put an engine on record; what is on record of it then, by whomever."""
        values = (name, model, about, checksum(name.encode(), model.encode(), about))
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO engines VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values
            )
            (known,) = self._connection.execute(
                "SELECT about FROM engines WHERE name = ? ORDER BY model LIMIT 1", (name,)
            ).fetchone()
        return bytes(known)

    def put(self, row: Row) -> Future[None]:
        """Done when the row is in the file.

        Raises:
            PonderError: an earlier row could not be written.
            ModelError: the recording is closed.
        """
        if self._failure is not None:
            raise self._failure
        job = _Job(row)
        with self._door:
            if not self.open:
                raise ModelError(f"recording {str(self._path)!r} is closed")
            self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """When everything is written. Again is no harm.

        Raises:
            PonderError: something could not be written.
        """
        with self._door:
            if not self.open:
                return
            self.open = False
            self._jobs.put(None)
        self._thread.join()
        tidy(self._connection)
        self._connection.close()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        last = False
        while not last:
            jobs = [self._jobs.get()]
            with suppress(Empty):
                while len(jobs) < _TOGETHER:
                    jobs.append(self._jobs.get_nowait())
            last = None in jobs
            self._settle([job for job in jobs if job is not None])

    def _settle(self, jobs: Sequence[_Job]) -> None:
        # From here on nobody can cancel one.
        wanted = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        try:
            if self._failure is None:
                self._write([job.row for job in jobs])
        except PonderError as error:
            self._failure = error
        except sqlite3.Error as error:
            self._failure = PonderError(
                f"calls could not be recorded in {str(self._path)!r}: {error}; what it holds is "
                "whole: make room or give another file, then run again"
            )
        for job in wanted:
            if self._failure is None:
                job.done.set_result(None)
            else:
                job.done.set_exception(self._failure)

    def _write(self, rows: Sequence[Row]) -> None:
        with transaction(self._connection):
            differing = sum(self._differs(row) for row in rows)
        self.differing += differing

    def _differs(self, row: Row) -> bool:
        """Put it in, unless there is one; whether that one has another result. What it was charged
        may differ, since what is cached depends on the company a call has.
        """
        asked = (row.key, row.engine, row.seed, row.steps, row.kind, row.past, row.given, row.nth)
        results = (row.value, row.usage, row.checksum)
        if self._connection.execute(_PUT, (*asked, *results)).rowcount:
            return False
        value, usage, kept = self._connection.execute(
            "SELECT value, usage, checksum FROM calls WHERE key = ?", (row.key,)
        ).fetchone()
        if checksum(row.key, value, usage) != kept:
            raise damaged(self._path, f"the record of {row.kind} on {row.seed}{row.steps}")
        return bool(value != row.value)
