"""Types of settings that come from a file: checked by pydantic against the very functions and
dataclasses that take them. Ranges are theirs to check.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from ponder.runtime import InputError, unknown

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def validated(
    target: Callable[..., object], given: Mapping[str, object], place: str
) -> dict[str, Any]:
    """Keyword arguments for `target`, each of its type.

    Raises:
        InputError: a key is unknown or missing, or a value has another type.
    """
    known = inspect.signature(target).parameters
    for key in given:
        if key not in known:
            raise InputError(located(place, unknown("key", key, known)))
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in given:
            raise InputError(f"{place} lacks {key!r}, which has no default")
    return {key: _value(target, key, value, f"{place}.{key}") for key, value in given.items()}


def schema_of(target: Callable[..., object]) -> dict[str, Any]:
    """JSON schema of the keyword arguments of `target`."""
    known = inspect.signature(target).parameters
    properties = {
        key: _adapter(target, key).json_schema()
        | ({} if p.default is p.empty else {"default": p.default})
        for key, p in known.items()
    }
    required = [key for key, p in known.items() if p.default is p.empty]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def mapping_of(value: object) -> Mapping[object, object] | None:
    """The value, where it is a mapping."""
    return cast(Mapping[object, object], value) if isinstance(value, Mapping) else None


def list_of(value: object) -> list[object] | None:
    """The value, where it is a list."""
    return cast(list[object], value) if isinstance(value, list) else None


def located(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(target: Callable[..., object], key: str, value: object, place: str) -> Any:
    from pydantic import ValidationError

    try:
        # As JSON, because only there a list may stand for a tuple while all else stays strict.
        return _adapter(target, key).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        wanted = error.errors()[0]["msg"]
        raise InputError(f"{place} is {shown(value)}; {wanted[0].lower()}{wanted[1:]}") from error


@lru_cache
def _adapter(target: Callable[..., object], key: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(get_type_hints(target)[key])
