"""Results of calls as JSON and back, to the bit: floats are kept as IEEE words, in 32 bits where
that loses nothing.
"""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.errors import CapabilityError, ContextOverflow, InputError
from ponder.runtime.values import Finish, Scored, Segment, SpliceMode, ToolCall, Usage

if TYPE_CHECKING:
    from ponder.runtime.picking import Row

Data = Mapping[str, Any]  # JSON values; which, is each kind's own
"""What a record holds."""

REFUSALS = {kind.__name__: kind for kind in (InputError, CapabilityError, ContextOverflow)}
"""Errors that the same call meets again, whenever it is made."""


def to_bytes(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def refusal(error: InputError) -> Data:
    return {"refused": type(error).__name__, "message": str(error)}


def raise_refusal(data: Data) -> None:
    if "refused" in data:
        raise REFUSALS[data["refused"]](data["message"])


def segment_data(segment: Segment) -> Data:
    """Without its usage, which may differ where all else is equal."""
    return {
        "text": segment.text,
        "tokens": segment.tokens,
        "logprobs": floats_data(segment.logprobs),
        "finish": segment.finish.value,
        "reasoning": segment.reasoning,
        "tool_calls": [asdict(call) for call in segment.tool_calls],
        # Only where asked for, so that what was recorded before there were any stays equal.
        **({"confidences": floats_data(segment.confidences)} if segment.confidences else {}),
    }


def segment_from(data: Data, usage: Usage) -> Segment:
    return Segment(
        text=data["text"],
        tokens=tuple(data["tokens"]),
        logprobs=floats_from(data["logprobs"]),
        finish=Finish(data["finish"]),
        usage=usage,
        reasoning=data["reasoning"],
        tool_calls=tuple(ToolCall(**call) for call in data["tool_calls"]),
        confidences=floats_from(data["confidences"]) if "confidences" in data else (),
    )


def scored_data(scored: Sequence[Scored]) -> Data:
    return {"scored": [[each.tokens, floats_data(each.logprobs)] for each in scored]}


def scored_from(data: Data) -> list[Scored]:
    return [
        Scored(tokens=tuple(tokens), logprobs=floats_from(logprobs))
        for tokens, logprobs in data["scored"]
    ]


def rows_data(rows: Sequence[Sequence[float]]) -> Data:
    return {"rows": [floats_data(row) for row in rows]}


def rows_from(data: Data) -> list[tuple[float, ...]]:
    return [floats_from(row) for row in data["rows"]]


def shown_data(row: Row | None) -> Data:
    """What a pick was shown: only tokens that can come, which are few of a script's million. None
    where there was no room for one.
    """
    import numpy as np

    if row is None:
        return {"shown": None}
    tokens = np.flatnonzero(row > -np.inf)
    return {
        "shown": {
            "vocabulary": len(row),
            "tokens": None if len(tokens) == len(row) else _base64(array("I", tokens.tolist())),
            "logits": _base64(array("f", row[tokens].tobytes())),
        }
    }


def shown_from(data: Data) -> Row | None:
    """The same row, the caller's to change."""
    import numpy as np

    shown = data["shown"]
    if shown is None:
        return None
    row = np.full(shown["vocabulary"], -np.inf, dtype=np.float32)
    tokens = slice(None) if shown["tokens"] is None else _words("I", shown["tokens"])
    row[tokens] = _words("f", shown["logits"])
    return row


def floats_data(values: Sequence[float]) -> str:
    """A letter for the width, then base64 of little-endian words."""
    wide = array("d", values)
    narrow = array("f", values)
    if narrow.tolist() == wide.tolist():  # a NaN is not equal to itself, and stays wide
        return "f" + _base64(narrow)
    return "d" + _base64(wide)


def floats_from(data: str) -> tuple[float, ...]:
    width: Literal["f", "d"] = "f" if data[0] == "f" else "d"
    return tuple(_words(width, data[1:]))


def _base64(values: array[Any]) -> str:
    """Little-endian."""
    if sys.byteorder == "big":
        values.byteswap()
    return b64encode(values.tobytes()).decode()


def _words(kind: Literal["f", "d", "I"], data: str) -> array[Any]:
    values: array[Any] = array(kind, b64decode(data))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def usage_data(usage: Usage) -> Data:
    return asdict(usage)


def usage_from(data: Data) -> Usage:
    return Usage(**data)


_NAMES = ("chat", "grammars")
"""Capabilities that are sets of names."""


def capabilities_data(capabilities: Capabilities) -> Data:
    splice = sorted(mode.value for mode in capabilities.splice)
    sets = {name: sorted(getattr(capabilities, name)) for name in _NAMES}
    return {**asdict(capabilities), "splice": splice, **sets}


def capabilities_from(data: Data) -> Capabilities:
    splice = frozenset(map(SpliceMode, data["splice"]))
    sets = {"splice": splice, **{name: frozenset(data.get(name, ())) for name in _NAMES}}
    fields: dict[str, Any] = {**data, **sets, "heads": tuple(data["heads"])}
    return Capabilities(**fields)
