"""Reads examples from a JSONL file: an object a line with `id`, `question` and `answer`.

Every line is checked and none is passed over: the first bad one is an error that names its line. A
blank line is bad too, and so is a byte order mark anywhere but at the very start, where editors put
it.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import NoReturn, cast

from ponder.evals.tasks import Example
from ponder.runtime import InputError

LONGEST_LINE = 16 * 2**20
"""Bytes. No real question comes near; a file without line ends does."""

NEEDED = '{"id": "...", "question": "...", "answer": "..."}'


def read_rows(path: Path) -> list[Example]:
    """All examples of a JSONL file, in order.

    Raises:
        InputError: the file cannot be read, is empty, or has a bad line.
    """
    try:
        # Not `splitlines` or text mode: questions may hold U+2028 and other line separators.
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise InputError(
            f"cannot read the data file {str(path)!r}: {error.strerror}; give --data a JSONL file"
        ) from error
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise InputError(f"the data file {str(path)!r} is empty; it needs a line {NEEDED} or more")
    seen: dict[str, int] = {}
    return [_example(_Line(path, number, seen), line) for number, line in enumerate(lines, 1)]


class _Line:
    """Where a line is, for its errors."""

    def __init__(self, path: Path, number: int, seen: dict[str, int]) -> None:
        self.path, self.number, self.seen = path, number, seen

    def fail(self, wrong: str) -> NoReturn:
        raise InputError(
            f"{self.path}, line {self.number}: {wrong}; each line must be an object like {NEEDED}"
        )

    def text(self, row: dict[str, object], key: str) -> str:
        """A non-empty string that can be written as UTF-8."""
        if key not in row:
            self.fail(f"there is no {key!r}")
        value = row[key]
        if not isinstance(value, str):
            self.fail(f"{key!r} is {_short(value)}, not a string")
        if not value.strip():
            self.fail(f"{key!r} is empty: {value!r}")
        self.check(value, key)
        return value

    def check(self, value: str, key: str) -> None:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            self.fail(f"{key!r} holds half a surrogate pair at character {error.start}")

    def optional(self, row: dict[str, object], key: str) -> str | None:
        """As text; numbers are allowed, as levels often are."""
        value = row.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fail(f"{key!r} is {_short(value)}, not a string or a number")
        self.check(str(value), key)
        return str(value)


def _example(at: _Line, line: bytes) -> Example:
    row = _object(at, line)
    name = at.text(row, "id")
    if name in at.seen:
        at.fail(f"the id {name!r} is taken by line {at.seen[name]}")
    at.seen[name] = at.number
    return Example(
        id=name,
        question=at.text(row, "question"),
        answer=at.text(row, "answer"),
        solution=at.optional(row, "solution"),
        level=at.optional(row, "level"),
    )


def _object(at: _Line, line: bytes) -> dict[str, object]:
    if len(line) > LONGEST_LINE:
        at.fail(f"it is {len(line):,} bytes long, more than {LONGEST_LINE:,}")
    if not line.strip():
        at.fail("it is blank")
    try:
        row: object = json.loads(line.decode())
    except UnicodeDecodeError as error:
        at.fail(f"it is no UTF-8: byte {line[error.start]:#04x} at {error.start}")
    except json.JSONDecodeError as error:
        at.fail(f"it is no JSON ({error.msg} at character {error.pos}): {_start(line)}")
    except (RecursionError, ValueError) as error:
        at.fail(f"it cannot be parsed ({error}): {_start(line)}")
    if not isinstance(row, dict):
        at.fail(f"it is {_short(row)}, not an object")
    return cast("dict[str, object]", row)


def _start(line: bytes) -> str:
    text = line.decode()
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
