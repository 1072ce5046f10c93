"""A solver in place of a strategy, whose answers depend on the question and the seed alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ponder.evals import Attempt, Example, Record, Vote
from ponder.runtime import BranchPath, Usage

SETTINGS = {
    "task": "gsm8k",
    "strategy": "sample: 4\nvote: {}\n",
    "seed": 0,
    "model": "scripted",
    "data": "ab" * 32,
    "budget": {"tokens": None},
    "versions": {"ponder": "0.1.0"},
}


@dataclass(slots=True, kw_only=True)
class Solver:
    """Four candidates an example; about half of them right."""

    pause: float = 0.0
    """Seconds, at most, for one example."""
    asked: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    under_way: int = 0
    most: int = 0

    async def __call__(self, example: Example, seed: int) -> Attempt:
        self.asked.append(example.id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        path = BranchPath(seed, (example.id,))
        try:
            await asyncio.sleep(self.pause * path.uniform(9))
        except asyncio.CancelledError:
            self.cancelled.append(example.id)
            raise
        finally:
            self.under_way -= 1
        answers = tuple(
            None if (u := path.uniform(i)) < 0.1 else example.answer if u < 0.5 else str(int(9 * u))
            for i in range(4)
        )
        return Attempt(
            answer=answers[0],
            confidence=path.uniform(5),
            outcome="exhausted" if path.uniform(6) < 0.2 else "complete",
            candidates=answers,
            usage=Usage(prompt=10, cached=4, decoded=int(100 * path.uniform(7))),
        )


def examples(n: int) -> list[Example]:
    return [Example(id=f"e/{i}", question=f"{i} + 0?", answer=str(i)) for i in range(n)]


def record(name: str = "a", **changes: object) -> Record:
    values: dict[str, object] = {
        "id": name,
        "reference": "2",
        "answer": "2",
        "correct": True,
        "outcome": "complete",
        "reason": "",
        "confidence": 0.5,
        "candidates": (Vote(answer="2", group=0, correct=True),),
        "usage": Usage(prompt=3, decoded=4),
        "seed": 1,
        "seconds": 0.5,
        "session": 0,
        "finished": 2.0,
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]  # a test's own changes
