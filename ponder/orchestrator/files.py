"""Files that are written whole or not at all: a reader never sees half of one, whatever becomes of
the writer.
"""

from __future__ import annotations

import os
from pathlib import Path

from ponder.runtime import InputError, PonderError


def write_whole(path: Path, text: str, what: str) -> None:
    """Raises `PonderError` where the system refuses; what was there before stays."""
    draft = path.with_name(f".{path.name}.part")
    try:
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise PonderError(
            f"no {what} could be written to {str(path)!r}: {error.strerror or error}; make room "
            "or give another place, then run again: what was written before is whole"
        ) from error


def check_writable(path: Path | None, what: str) -> None:
    """Refuse a place where nothing can be written, before a token is spent; None is no place.

    Raises:
        InputError: the folder is missing or closed to us, or the path is a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{what} path {str(path)!r} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{what} path {str(path)!r}: its folder does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{what} path {str(path)!r}: its folder cannot be written to")
