"""A search under way as JSON values, and back: what its method knows, what was asked for and not
told yet, and where the branches of nodes that may grow stand.

Nothing here knows a method: a state is dataclasses of plain values, and its fields' types say how
to read it back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ponder.runtime import InputError, Standing
from ponder.strategies.search.method import Planned

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooted:
    """Where what a node holds stands."""

    branch: Standing
    shadow: Standing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSearch:
    state: Any  # JSON values; whose, the method knows
    under_way: list[Planned] = field(default_factory=list[Planned])
    """In the order in which they were asked for."""
    rooted: dict[int, Rooted] = field(default_factory=dict[int, Rooted])
    """By node."""
    bare: Standing | None = None
    over: bool = False
    """There is nothing left to grow."""


def encoded(value: Any) -> Any:  # Any: a dataclass; JSON values
    """As JSON values."""
    return _adapter(cast(Any, type(value))).dump_python(value, mode="json")


def decoded(kind: type[T], data: object) -> T:
    """Raises `InputError` where `data` is not what `encoded` made of a `kind`."""
    from pydantic import ValidationError

    wanted: Any = kind
    try:
        # As JSON, because only there a list may stand for a tuple while all else stays strict.
        value: T = _adapter(wanted).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise _alien(kind, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if _shape(encoded(value)) != _shape(data):  # a default in place of what was saved
        raise _alien(kind, "it has other fields")
    return value


def _alien(kind: type[object], why: str) -> InputError:
    return InputError(
        f"what was saved is no {kind.__name__} of this version of Ponder: {why}; resume with the "
        "version that saved it, or search again"
    )


def _shape(data: object) -> object:
    """JSON without its scalars, so that sets, which have no order, are compared too."""
    if isinstance(data, dict):
        return {k: _shape(v) for k, v in cast(dict[str, object], data).items()}
    return list(map(_shape, cast(list[object], data))) if isinstance(data, list) else None


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:  # Any: whatever the dataclass is
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
