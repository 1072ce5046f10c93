"""What a text must fit, as a plain value: a grammar, or the name of a potential that is given with
the question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ponder.runtime import Grammar, InputError, unknown
from ponder.verifiers.potentials.api import Potential
from ponder.verifiers.potentials.grammars import Grammatical

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The potential that `solve(..., potentials={name: ...})` was given by this name."""

    predicate: str


Fit: TypeAlias = Grammar | Named


def regex(pattern: str) -> Grammar:
    """The whole text matches `pattern`."""
    return Grammar(kind="regex", text=pattern)


def json_schema(schema: Mapping[str, object] | type[BaseModel] | str) -> Grammar:
    """The whole text is a JSON value that fits `schema`: a mapping, JSON text or pydantic model."""
    if isinstance(schema, str):
        return Grammar(kind="json_schema", text=schema)
    if isinstance(schema, Mapping):
        return Grammar(kind="json_schema", text=json.dumps(schema))
    return Grammar(kind="json_schema", text=json.dumps(schema.model_json_schema()))


def lark(text: str) -> Grammar:
    """The whole text derives from `start` of a grammar in llguidance's dialect of Lark."""
    return Grammar(kind="lark", text=text)


def predicate(name: str) -> Named:
    """What the potential by this name says, which is given with the question."""
    return Named(predicate=name)


def potential_of(fit: Fit, named: Mapping[str, Potential]) -> Potential:
    """Raises `InputError` where no potential has that name."""
    if isinstance(fit, Grammar):
        return Grammatical(grammar=fit)
    if fit.predicate not in named:
        raise InputError(
            f"{unknown('potential', fit.predicate, named)}; give it with the question: "
            f"potentials={{{fit.predicate!r}: Predicate(...)}}, or --potential "
            f"{fit.predicate}=FILE.py:NAME"
        )
    return named[fit.predicate]
