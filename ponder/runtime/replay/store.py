"""The file of a recording: SQLite, one row a call, many processes at once (write-ahead log).

Each row has a checksum, so that a torn or altered one is told from a call that was never made.
Knows rows and bytes, not engines.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ponder.runtime.errors import InputError, PonderError

APPLICATION = 0x506F6E64
"""Marks the file as ours."""
FORMAT = 1
PATIENCE = 60.0
"""Seconds to wait for other processes that write."""
_SCHEMA = (
    """CREATE TABLE engines (
        name TEXT NOT NULL, model TEXT NOT NULL, about BLOB NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (name, model)) WITHOUT ROWID""",
    """CREATE TABLE calls (
        key BLOB PRIMARY KEY, engine TEXT NOT NULL, seed TEXT NOT NULL, steps TEXT NOT NULL,
        kind TEXT NOT NULL, past TEXT NOT NULL, given TEXT NOT NULL, nth INTEGER NOT NULL,
        value BLOB NOT NULL, usage BLOB NOT NULL, checksum BLOB NOT NULL)""",
    "CREATE INDEX calls_by_path ON calls (engine, steps, seed)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call and its result."""

    key: bytes
    engine: str
    seed: str
    steps: str
    """JSON list: the branch path below the seed."""
    kind: str
    past: str
    given: str
    """JSON object of parameters."""
    nth: int
    value: bytes
    """JSON."""
    usage: bytes
    """JSON: what the call was charged."""

    @property
    def checksum(self) -> bytes:
        return checksum(self.key, self.value, self.usage)


def checksum(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def open_to_write(path: Path) -> sqlite3.Connection:
    """Made where it does not exist.

    Raises:
        InputError: it cannot be written, or is no recording of this format.
    """
    if not path.parent.is_dir():
        raise InputError(f"recording {str(path)!r}: its folder does not exist; make it first")
    with refusing(path):
        connection = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Raises `InputError`: there is no such file, or it is no recording of this format."""
    if not path.is_file():
        raise InputError(f"there is no recording {str(path)!r}; make one with --record")
    with refusing(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _check_format(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All or nothing; others that write wait."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def tidy(connection: sqlite3.Connection) -> None:
    """Whoever leaves last makes it one file again, without a log beside it, which can be copied and
    read where nothing can be written.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):  # others are at it
        connection.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def refusing(path: Path) -> Generator[None]:
    """SQLite's errors at opening, in words."""
    try:
        yield
    except sqlite3.Error as error:
        raise InputError(
            f"{str(path)!r} cannot be used as a recording: {error}; give another file"
        ) from error


def damaged(path: Path, what: str) -> PonderError:
    """Not an `InputError`: it must end a run, and not be taken for a fault of one question."""
    return PonderError(
        f"recording {str(path)!r} is damaged: {what}; what it says is not used: take a copy of the "
        "file that is whole, or record the run again into a new one"
    )


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    if not _empty(connection):
        _check_format(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is in the file, whatever becomes of this process; the last ones may go if the power
    # does, each as a whole.
    connection.execute("PRAGMA synchronous = NORMAL")
    with transaction(connection):
        if _empty(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
    _check_format(connection, path)


def _empty(connection: sqlite3.Connection) -> bool:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(version == 0 and tables == 0)


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise InputError(f"{str(path)!r} is no recording of Ponder's; give another file")
    if version != FORMAT:
        raise InputError(
            f"recording {str(path)!r} has format {version}, and this version of Ponder reads "
            f"format {FORMAT}; use the version that made it, or record again into a new file"
        )
