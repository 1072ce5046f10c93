"""From a `Grammar` to llguidance's matcher, and from its complaints to ours.

The library is imported when a grammar is first compiled, and is part of the `constraints` extra.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ponder.runtime.errors import InputError
from ponder.runtime.grammar import Grammar

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WHITE_SPACE = r" ?|\n[ ]{0,20}"
"""Between the parts of JSON. It ends, since models that are kept from what they would say next tend
to go on with white space for ever."""
UNFORCED = '\n%llguidance {"no_forcing": true}\n'
"""Else, where only one text can come next, its usual spelling in tokens alone would be allowed."""
SHOWN = 200
"""Characters of a grammar that an error shows."""
_PLACE = re.compile(r"^(?:at )?(\d+)\((\d+)\): (.*)", re.DOTALL)
_REGEX = re.compile(r"regex parse error:\n(.*)\nerror: ([^\n]*)", re.DOTALL)


def check_installed() -> None:
    missing = [name for name in ("llguidance", "numpy") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"grammars need {', '.join(missing)}, which is not installed; "
            "run: pip install 'ponder[constraints]'"
        )


def compiled(grammar: Grammar, tokenizer: LLTokenizer) -> LLMatcher:
    """A matcher at the beginning of a text.

    Raises:
        InputError: the grammar cannot be read, and where and why; or it uses what is not supported.
    """
    from llguidance import LLMatcher, LLParserLimits

    matcher = LLMatcher(
        tokenizer, _source(grammar), log_level=0, limits=LLParserLimits(verbose_errors=False)
    )
    if matcher.is_error():
        raise InputError(_complaint(grammar, matcher.get_error()))
    return matcher


def _source(grammar: Grammar) -> str:
    """What llguidance reads. Its option goes last, so that the user's lines keep their numbers."""
    from llguidance import LLMatcher

    if grammar.kind == "regex":
        read = json.loads(LLMatcher.grammar_from_regex(grammar.text))
        read["grammars"][0]["lark_grammar"] += UNFORCED
        return json.dumps(read)
    if grammar.kind == "lark":
        return grammar.text + UNFORCED
    return f"start: %json {json.dumps(_schema(grammar))}{UNFORCED}"


def _schema(grammar: Grammar) -> object:
    try:
        schema: object = json.loads(grammar.text)
    except ValueError as error:
        raise InputError(f"{_shown(grammar)} is no JSON: {error}") from error
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        return schema
    told = cast(dict[str, object], schema)
    own = told.get("x-guidance")
    options = cast(dict[str, object], own) if isinstance(own, dict) else {}
    return {**told, "x-guidance": {"whitespace_pattern": WHITE_SPACE, **options}}


def _complaint(grammar: Grammar, message: str) -> str:
    place = _PLACE.match(message)
    reason = place[3].split("\n", 1)[0] if place is not None else message.strip()
    if grammar.kind == "json_schema":
        return _unusable(_shown(grammar), reason.removeprefix("failed to compile JSON schema: "))
    regex = _REGEX.search(message) if grammar.kind == "regex" else None
    if regex is not None:
        place, reason = None, f"{regex[2]}{_column(regex[1])}"
    where = f" at line {place[1]}, column {place[2]}" if place is not None else ""
    return f"{_shown(grammar)} cannot be read{where}: {reason}"


def _unusable(shown: str, reason: str) -> str:
    keys = reason.removeprefix("Unimplemented keys: ")
    if keys != reason:
        return f"{shown} uses keywords that are not supported: {keys}; leave them out"
    return f"{shown} cannot be used: {reason}"


def _column(drawing: str) -> str:
    """Of a pattern of one line, drawn with a mark below what is wrong, four to the right."""
    lines = drawing.split("\n")
    marked = len(lines) == 2 and not lines[1].strip(" ^")
    return f" (at character {lines[1].index('^') - 4})" if marked else ""


def _shown(grammar: Grammar) -> str:
    cut = grammar.text if len(grammar.text) <= SHOWN else grammar.text[:SHOWN] + "..."
    return f"grammar {grammar.kind} {cut!r}"
