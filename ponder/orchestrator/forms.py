"""From what a caller wants as an answer, a pydantic model or JSON Schema, to a question's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ponder.runtime import InputError
from ponder.verifiers import Question

if TYPE_CHECKING:
    from pydantic import BaseModel


def asked(
    question: str | Question, answer: type[BaseModel] | Mapping[str, object] | None
) -> Question:
    """The question, with the form that its answer must have.

    Args:
        question: what to answer.
        answer: a pydantic model, whose objects have no other fields than it names; or a JSON
            Schema, taken as it is; None leaves the question as it is.

    Raises:
        InputError: the question has a form already, or the answer's is neither.
    """
    put = Question(text=question) if isinstance(question, str) else question
    if answer is None:
        return put
    if put.form is not None:
        raise InputError("the question has a form of its own; give that or `answer`, not both")
    return replace(put, form=form_of(answer))


def form_of(answer: type[BaseModel] | Mapping[str, object]) -> str:
    """JSON text of the schema."""
    if isinstance(answer, Mapping):
        schema: object = dict(answer)
    elif hasattr(answer, "model_json_schema"):
        schema = _closed(answer.model_json_schema())
    else:
        raise InputError(
            f"answer is {answer!r}; give a pydantic model class, or a JSON Schema as a dict"
        )
    try:
        return json.dumps(schema)
    except (TypeError, ValueError) as error:
        raise InputError(f"answer is {answer!r}, which JSON cannot write: {error}") from error


def read_schema(path: Path) -> str:
    """A JSON Schema from a file.

    Raises:
        InputError: there is none, or it is no JSON object.
    """
    try:
        schema: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a JSON Schema: {error}") from error
    if not isinstance(schema, dict):
        raise InputError(f"{path} holds no JSON Schema: its JSON is {schema!r}, not an object")
    return json.dumps(schema)


def _closed(schema: Any) -> Any:  # Any: JSON
    """The same schema, whose objects have the fields it names and no others: a model that may
    invent fields would.
    """
    if isinstance(schema, list):
        return [_closed(each) for each in cast(Sequence[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    told = {name: _closed(value) for name, value in cast(dict[str, Any], schema).items()}
    if told.get("type") == "object" and isinstance(told.get("properties"), dict):
        told.setdefault("additionalProperties", False)
    return told
