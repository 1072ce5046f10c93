"""Calls of tools inside a reply's text, in the form of Hermes, which Qwen's models write too:
`<tool_call>{"name": ..., "arguments": {...}}</tool_call>` (Nous Research, Hermes-Function-Calling).

What is no such call, JSON that does not parse among it, stays text.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NoReturn

from ponder.runtime.seeds import BranchPath, philox
from ponder.runtime.values import Finish, Segment, ToolCall

OPENING = "<tool_call>"
_CALL = re.compile(rf"{OPENING}\s*(.*?)\s*</tool_call>", re.DOTALL)
_WORD = 0xFFFFFFFF


def with_calls(segment: Segment, path: BranchPath, position: int) -> Segment:
    """A reply that starts at token `position` of its branch; one that was cut short calls nothing,
    whatever it began.
    """
    if segment.finish is not Finish.EOS:
        return segment
    calls = read_calls(segment.text, path, position)
    return replace(segment, finish=Finish.TOOLS, tool_calls=calls) if calls else segment


def read_calls(text: str, path: BranchPath, position: int) -> tuple[ToolCall, ...]:
    """The calls in a text; path and position give them their names."""
    found = [call for match in _CALL.finditer(text) if (call := _parsed(match[1])) is not None]
    return tuple(
        ToolCall(id=_ident(path, position, place), name=name, arguments=arguments)
        for place, (name, arguments) in enumerate(found)
    )


def without_calls(text: str) -> str:
    """The text around the calls."""
    return _CALL.sub(lambda match: match[0] if _parsed(match[1]) is None else "", text)


def _parsed(text: str) -> tuple[str, str] | None:
    """Name and arguments, or None for what is no call."""
    try:
        call: Any = json.loads(text, parse_constant=_no_number)  # Any: JSON of a model
    except (ValueError, RecursionError):
        return None
    match call:
        case {"name": str(name), "arguments": dict()} if name:
            return name, json.dumps(call["arguments"], ensure_ascii=False)
        case {"name": str(name)} if name and call.get("arguments") is None:
            return name, "{}"
        case _:
            return None


def _no_number(spelling: str) -> NoReturn:
    raise ValueError(f"{spelling} is no JSON")


def _ident(path: BranchPath, position: int, place: int) -> str:
    high, low, _, _ = philox((position & _WORD, position >> 32, place, 2), path.key())
    return f"call_{high:08x}{low:08x}"
