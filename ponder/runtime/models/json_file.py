"""Reads a JSON object from a model's directory, with errors that name the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ponder.runtime.errors import InputError


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
