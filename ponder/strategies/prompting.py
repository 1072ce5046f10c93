"""How a question becomes a prompt: one user turn, the instruction first. Nothing else words it."""

from __future__ import annotations

from ponder.runtime import Message
from ponder.verifiers import Question


def ask(question: Question) -> tuple[Message, ...]:
    """The chat that asks `question`, open for the assistant's reply."""
    return (Message(role="user", content=f"{question.instruction}\n\n{question.text}".strip()),)
