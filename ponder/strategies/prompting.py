"""How a question becomes a prompt. Nothing else words it."""

from __future__ import annotations

from ponder.runtime import Message
from ponder.verifiers import Question


def ask(question: Question) -> tuple[Message, ...]:
    """The chat that asks `question`, open for the reply: what was said before, then the instruction
    with the first turn of its own, shots as turns already answered.
    """
    asked = [*(shot.question for shot in question.shots), question.text]
    asked[0] = f"{question.instruction}\n\n{asked[0]}".strip()
    turns = [Message(role="user", content=text) for text in asked]
    for place, shot in enumerate(question.shots):
        turns.insert(2 * place + 1, Message(role="assistant", content=shot.solution))
    return (*question.history, *turns)
