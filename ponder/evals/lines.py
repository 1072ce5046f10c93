"""A file of lines that only grows and never loses one: each line is on the disk before `append`
returns.

What a killed writer left half-written at the end is cut away when the file is opened again; what
did not fit on the disk is taken back at once. Knows nothing of what the lines say.
"""

from __future__ import annotations

import os
from pathlib import Path


class LineFile:
    """One writer at a time; who that is, is the caller's to settle."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file; the torn tail, if any, goes.

        Raises:
            OSError: the file cannot be opened, read or cut.
        """
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            content = path.read_bytes()
            self._end = content.rfind(b"\n") + 1
            if self._end < len(content):
                self._take_back()
        except OSError:
            os.close(self._file)
            raise
        self.lines = content[: self._end].split(b"\n")[:-1]
        """What was there at the opening."""

    def append(self, line: bytes) -> None:
        """Write a whole line, its end included, through to the disk.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        try:
            rest = line
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            self._take_back()
            raise
        self._end += len(line)

    def close(self) -> None:
        os.close(self._file)

    def _take_back(self) -> None:
        os.ftruncate(self._file, self._end)
        os.fsync(self._file)
