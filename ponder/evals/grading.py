"""Grades an attempt: its answer against the reference, and each candidate's.

Candidates are grouped by meaning first, and each group is graded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ponder.evals.records import Asked, Score, Vote
from ponder.runtime import Usage
from ponder.verifiers import Equivalence, group


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a strategy made of one question."""

    answer: str | None
    confidence: float | None
    outcome: Literal["complete", "exhausted"]
    candidates: tuple[str | None, ...]
    """Extracted answers, in the order they were asked for."""
    usage: Usage
    scores: Mapping[int, tuple[Score, ...]] = field(default_factory=dict[int, tuple[Score, ...]])
    """What verifiers said, by a candidate's place in `candidates`."""
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    correct: bool
    votes: tuple[Vote, ...]


async def grade(reference: str, attempt: Attempt, equivalence: Equivalence) -> Grade:
    """An answer is right when it means the same as the reference; no answer is wrong."""
    numbers = await group(attempt.candidates, equivalence)
    right: dict[int, bool] = {}
    for number, answer in zip(numbers, attempt.candidates, strict=True):
        if number is not None and number not in right and answer is not None:
            right[number] = await equivalence.same(reference, answer)
    votes = tuple(
        Vote(
            answer=writable(answer),
            group=n,
            correct=n is not None and right[n],
            scores=attempt.scores.get(place, ()),
        )
        for place, (n, answer) in enumerate(zip(numbers, attempt.candidates, strict=True))
    )
    answer = attempt.answer
    return Grade(
        correct=answer is not None and await equivalence.same(reference, answer), votes=votes
    )


def writable(text: str | None) -> str | None:
    """Halves of surrogate pairs, which a model can spell, cannot be kept in a file."""
    return text and text.encode(errors="replace").decode()
