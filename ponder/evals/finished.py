"""A run that is over, or stopped, read back from its directory, which stays as it is."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ponder.evals.directory import read_records, read_settings, trace_of
from ponder.evals.records import Record
from ponder.orchestrator import Trace, kept_candidates, kept_question, read_trace
from ponder.runtime import InputError
from ponder.verifiers import Candidate, Question

_NEEDED = ("task", "strategy", "seed", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What an eval left in its directory."""

    path: Path
    settings: dict[str, object]
    """Of `run.json`."""
    records: tuple[Record, ...]
    torn: bool
    """A last record was cut short when its writer was killed; it is left out."""

    @property
    def asked(self) -> list[Record]:
        """Those that got an answer, or could have: they have traces."""
        return [record for record in self.records if record.outcome != "failed"]

    def question(self, record: Record) -> Question:
        return kept_question(self._trace(record))

    def candidates(self, record: Record) -> tuple[Candidate, ...]:
        """Raises `InputError`: its trace is missing, damaged or of another format."""
        trace = self._trace(record)
        try:
            return kept_candidates(trace)
        except InputError as error:
            raise InputError(f"{trace_of(self.path, record.id)}: {error}") from error

    def _trace(self, record: Record) -> Trace:
        return read_trace(trace_of(self.path, record.id))


@contextmanager
def finished_run(path: Path) -> Generator[FinishedRun]:
    """Read a run's directory, and keep writers out of it meanwhile.

    Raises:
        InputError: there is no run, it is being written now, or it is damaged.
    """
    if not (path / "run.json").is_file():
        raise InputError(
            f"{str(path)!r} holds no run: there is no run.json in it; give the --out of an eval"
        )
    with _shared(path / "lock"):
        settings = read_settings(path / "run.json")
        for name in _NEEDED:
            if name not in settings:
                raise InputError(
                    f"{path / 'run.json'} does not say the {name}: another version of Ponder made "
                    "it; use that one, or run the eval again"
                )
        records = path / "records.jsonl"
        content = records.read_bytes() if records.exists() else b""
        *lines, tail = content.split(b"\n")
        known = tuple(read_records(records, lines).values())
        if not known:
            raise InputError(f"the run in {str(path)!r} has no records yet; let it go on first")
        yield FinishedRun(path=path, settings=settings, records=known, torn=bool(tail))


@contextmanager
def _shared(path: Path) -> Generator[None]:
    """Any number may read, while none writes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InputError(
            f"{str(path.parent)!r} is being written by an eval now; wait for it or end it"
        ) from error
    finally:
        os.close(file)
