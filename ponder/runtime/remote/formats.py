"""Ways in which endpoints are told that a reply must fit a grammar."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, get_args

from ponder.runtime.errors import CapabilityError, InputError
from ponder.runtime.grammar import Grammar, GrammarKind

Way = Literal["response_format", "structured_outputs", "guided"]
"""OpenAI's field, for schemas alone; vLLM's field; and the fields that vLLM had before."""
WAYS: Final[tuple[Way, ...]] = get_args(Way)
_NAMES: Final = {"regex": "regex", "json_schema": "json", "lark": "grammar"}


def formatted(way: Way, grammar: Grammar) -> dict[str, Any]:  # Any: JSON
    """The fields of a request.

    Raises:
        CapabilityError: that way has no word for this kind.
        InputError: the schema is no JSON.
    """
    said: object = grammar.text
    if grammar.kind == "json_schema":
        said = _schema(grammar.text)
    if way == "structured_outputs":
        return {way: {_NAMES[grammar.kind]: said}}
    if way == "guided":
        return {f"guided_{_NAMES[grammar.kind]}": said}
    if grammar.kind != "json_schema":
        raise CapabilityError(f"{way} takes no {grammar.kind}; give a JSON Schema")
    named = {"name": "reply", "schema": said, "strict": True}
    return {way: {"type": "json_schema", "json_schema": named}}


def _schema(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"the JSON Schema {text!r} is no JSON: {error}") from error


TRIALS: Final[dict[GrammarKind, str]] = {
    "regex": "zq[0-3]{3}x",
    "json_schema": json.dumps(
        {
            "type": "object",
            "properties": {"zq": {"type": "string", "enum": ["wug"]}},
            "required": ["zq"],
            "additionalProperties": False,
        }
    ),
    "lark": 'start: "zq" /[0-3]{3}/ "x"',
}
"""What no model says by itself: a reply that fits was held to it."""


def fits(kind: GrammarKind, said: str) -> bool:
    """Whether a reply is what the trial of this kind allows."""
    if kind == "json_schema":
        return "".join(said.split()) == '{"zq":"wug"}'
    return re.fullmatch(TRIALS["regex"], said.strip()) is not None
