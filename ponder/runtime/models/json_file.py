"""Reads a JSON object from a model's directory, and numbers in it; errors name the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ponder.runtime.errors import InputError

_LARGEST: Final = sys.float_info.max


def read_json(path: Path, *, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The object in the file; `default`, if given, where there is no such file.

    The values are Any: each reader checks what it takes out.
    """
    if default is not None and not path.exists():
        return default
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}, where a JSON object belongs")
    return cast(dict[str, Any], found)


def count(raw: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    """A whole number above 0; `default` where it is missing or null."""
    found: object = default if raw.get(key) is None else raw[key]
    if not isinstance(found, int) or isinstance(found, bool) or not 0 < found < _LARGEST:
        raise InputError(f"{path}: {key} is {found!r}; it must be a whole number above 0")
    return found


def number(raw: Mapping[str, Any], key: str, path: Path, default: float | None = None) -> float:
    """A number; `default` where it is missing or null."""
    found: object = default if raw.get(key) is None else raw[key]
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) > _LARGEST:
        raise InputError(f"{path}: {key} is {found!r}; it must be a number")
    return float(found)
