"""How a question becomes a prompt. Nothing else words it."""

from __future__ import annotations

import json
from dataclasses import replace

from ponder.runtime import Grammar, Message, Sampling
from ponder.verifiers import BOXED, Question

IN_FORM = "Reply with one JSON value that fits this JSON Schema, and with nothing else: "


def ask(question: Question) -> tuple[Message, ...]:
    """The chat that asks `question`, open for the reply: what was said before, then the instruction
    with the first turn of its own, shots as turns already answered. A form is shown, since a model
    must know the fields; nobody is asked for a box in JSON.
    """
    asked = [*(shot.question for shot in question.shots), question.text]
    asked[0] = f"{_instruction(question)}\n\n{asked[0]}".strip()
    turns = [Message(role="user", content=text) for text in asked]
    for place, shot in enumerate(question.shots):
        turns.insert(2 * place + 1, Message(role="assistant", content=shot.solution))
    return (*question.history, *turns)


def held(question: Question, params: Sampling, start: int | None = None) -> Sampling:
    """`params` for a decode of the reply to `question`, which begins at token `start` of the branch
    (None: with the decode): every reply to a question with a form must fit it.
    """
    if question.form is None:
        return params
    grammar = Grammar(kind="json_schema", text=question.form)
    return replace(params, grammar=grammar, grammar_start=start)


def begun_at(params: Sampling, start: int) -> Sampling:
    """`params` where the reply, if it is held to a grammar, began at token `start`."""
    return params if params.grammar is None else replace(params, grammar_start=start)


def _instruction(question: Question) -> str:
    if question.form is None:
        return question.instruction
    own = "" if question.instruction == BOXED else f"{question.instruction}\n\n"
    return f"{own}{IN_FORM}{json.dumps(json.loads(question.form), ensure_ascii=False)}"
