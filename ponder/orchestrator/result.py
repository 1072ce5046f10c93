"""What a run answers, and what it cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from ponder.orchestrator.inspecting.judging import Tally
from ponder.orchestrator.trace import Trace
from ponder.runtime import InputError, Usage
from ponder.verifiers import Candidate

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


class Status(Enum):
    COMPLETE = "complete"
    EXHAUSTED = "exhausted"
    """The budget cut something short: the answer is the best so far, or None."""
    UNSATISFIED = "unsatisfied"
    """Nothing that was drawn fits what the text must fit, so there is no answer."""
    UNJUDGED = "unjudged"
    """A verifier that was asked gave no verdict at all, so what it was to decide was decided
    without it: the answer may be any of those that were drawn.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Tokens by what they were for. Together they are what the budget counts."""

    policy: Usage = Usage()
    verifier: Usage = Usage()

    @property
    def total(self) -> Usage:
        return self.policy + self.verifier

    @property
    def tokens(self) -> int:
        return self.total.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Everything of a result that can be recomputed from its trace."""

    answer: str | None
    confidence: float | None
    """In [0, 1]; its meaning is the last step's."""
    status: Status
    usage: Spending
    calls: int
    """Decodes and scorings."""
    seconds: float
    """On the engine's clock, from the start to the last event."""
    judging: tuple[Tally, ...]
    """How often each verifier was asked, and how often it failed; those that were not are not
    here.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A candidate as it was last seen, with the answer read from it."""

    candidate: Candidate
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """See `Numbers` for the units."""

    answer: str | None
    confidence: float | None
    status: Status
    usage: Spending
    calls: int
    seconds: float
    judging: tuple[Tally, ...]
    seed: int
    """Give it again to run again."""
    candidates: tuple[Attempt, ...] = field(repr=False)
    """In the order of their nodes and indices."""
    chosen: tuple[str, int] | None
    """(source, index) of the candidate the answer is read from."""
    trace: Trace = field(repr=False)

    @property
    def text(self) -> str:
        """The answer; where no candidate held a final one, all that the chosen candidate said."""
        if self.answer is not None:
            return self.answer
        said = {(a.candidate.source, a.candidate.index): a.candidate.text for a in self.candidates}
        return said[self.chosen] if self.chosen else ""

    @property
    def farthest(self) -> str | None:
        """The longest beginning that was found of a text that must fit something, where none was
        found that does.
        """
        found = [event.get("farthest") for event in self.trace.events]
        return max((text for text in found if text is not None), key=len, default=None)

    @property
    def value(self) -> Any:  # Any: JSON
        """The decoded answer to a question with a form; None where there is no answer."""
        return None if self.answer is None else json.loads(self.answer)

    def parsed(self, model: type[Model]) -> Model:
        """The answer as a pydantic model.

        Raises:
            InputError: there is no answer, or it is not of that form.
        """
        if self.answer is None:
            raise InputError("there is no answer to parse; see `status` and `candidates`")
        try:
            return model.model_validate_json(self.answer)
        except ValueError as error:
            raise InputError(
                f"the answer {self.answer!r} is no {model.__name__}: {error}"
            ) from error

    @property
    def numbers(self) -> Numbers:
        return Numbers(
            answer=self.answer,
            confidence=self.confidence,
            status=self.status,
            usage=self.usage,
            calls=self.calls,
            seconds=self.seconds,
            judging=self.judging,
        )
