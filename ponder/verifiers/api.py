"""The seam between candidates and whatever judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ponder.runtime import Finish, InputError, Message, Usage
from ponder.verifiers.confidence import TokenConfidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A worked example, shown to the model as an earlier turn of the chat."""

    question: str
    solution: str


BOXED = "Think step by step, then give the final answer inside \\boxed{}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and how the answer is to be given."""

    text: str
    instruction: str = BOXED
    """Opens the prompt; a task sets its own."""
    shots: tuple[Shot, ...] = ()
    """In order; they show what the instruction asks for."""
    history: tuple[Message, ...] = ()
    """Turns of the conversation that the question goes on from, as they were said."""
    form: str | None = None
    """A JSON Schema, as JSON text: the whole reply is a value that fits it, and the answer is that
    value. None: the answer is found in free text.
    """

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError(f"the question is empty: {self.text!r}; give at least one word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verifier says of one candidate: a score in [0, 1], or a stated failure, never both."""

    score: float | None = None
    failure: str | None = None
    reason: str = ""
    usage: Usage = Usage()
    down: bool = False
    """It failed because the engine that was asked did."""

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError(f"a verdict has a score or a failure, not both or neither: {self!r}")
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"a verdict's score is in [0, 1], not {self.score!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One attempt at a question."""

    source: str
    """Name of the graph node that made it."""
    index: int
    """Its place among that node's candidates; (source, index) names a candidate within a run."""
    text: str
    finish: Finish
    logprobs: tuple[float, ...] | None
    """Nats, one for each drawn token; None where the engine tells none."""
    usage: Usage
    verdict: Verdict | None = None
    """The newest one."""
    weight: float = 1.0
    """How many votes it has: of a weighted sample, its share times their number."""
    whole: bool = False
    """Its whole text is the answer, since it was made to fit something."""
    token_confidence: TokenConfidence | None = None
    """Where it was asked for."""
    measured: float | None = None
    """Its confidence in nats by the measure of the newest step that took one; it weighs votes."""

    def judged(self, verdict: Verdict) -> Candidate:
        return replace(self, verdict=verdict)


class Verifier(Protocol):
    """Judges candidates. Failing to judge, for want of budget too, is a `Verdict` with `failure`,
    never a made-up score.
    """

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict a candidate, in their order."""
        ...


class Equivalence(Protocol):
    """Says whether two final answers mean the same."""

    async def same(self, a: str, b: str) -> bool:
        """`a` is the reference where there is one."""
        ...
