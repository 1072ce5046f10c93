"""Answers that are JSON: canonical text for each value, so that equal values are equal texts.

Numbers are equal as JSON Schema has it, 1 and 1.0 alike; of keys given twice the last counts.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from ponder.verifiers.api import Candidate, Question
from ponder.verifiers.extraction import boxed, extract

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def answer_of(question: Question, reply: Candidate | str) -> str | None:
    """The answer that a reply gives to `question`; None where it gives none, or broke off. A
    candidate that was made to fit something is its own answer, unless it has a box.
    """
    text = reply if isinstance(reply, str) else reply.text
    if question.form is not None:
        return canonical_json(text)
    if isinstance(reply, Candidate) and reply.whole:
        return boxed(text) or text.strip() or None
    return extract(text)


def canonical_json(text: str) -> str | None:
    """Keys in order, no white space; None for what is no JSON, or has a number beyond floats."""
    try:
        value: Json = json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class SameJson:
    """An `Equivalence` of canonical JSON."""

    async def same(self, a: str, b: str) -> bool:
        return a == b


def _number(text: str) -> int | float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is beyond all floats")
    return int(number) if number.is_integer() else number


def _refuse(text: str) -> Json:
    raise ValueError(f"{text} is no JSON")
