"""The seam between methods and the graph that runs them: a strategy is a value that maps a stream
to a stream.

A strategy knows its typed ports, its worst-case cost and what it needs of an engine. It meets
engines, verifiers and the trace through a `Context` only, and does no accounting: the engines it is
given are metered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal, Protocol

from ponder.runtime import Branch, BranchPath, Engine
from ponder.verifiers import (
    Candidate,
    Equivalence,
    Fit,
    Potential,
    Question,
    StepVerifier,
    Verifier,
)


class Port(Enum):
    """What flows along an edge."""

    QUESTION = "question"
    CANDIDATES = "candidates"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A final answer as text, with the share of support behind it."""

    text: str | None
    """Canonical where it is a number or expression; None when no candidate held one."""
    confidence: float | None
    """In [0, 1]; what it means is the strategy's to say. None with no answer."""
    chosen: tuple[str, int] | None
    """(source, index) of the candidate it is read from."""


Item = Question | Candidate | Answer

Purpose = Literal["policy", "verifier"]
"""What tokens are spent for: to answer, or to judge answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What reaches a node at most."""

    prompt_tokens: int
    """Of the question's prompt."""
    candidates: int
    """Coming in."""
    candidate_tokens: int
    """Of the longest coming in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a node costs at most, and what leaves it. Bounds of a graph add up."""

    calls: int = 0
    """Decodes and scorings asked of engines."""
    tokens: int = 0
    """As `Usage.tokens` counts them."""
    branches: int = 0
    """KV branches alive at once."""
    candidates: int = 0
    """Going out."""
    candidate_tokens: int = 0


class Context(Protocol):
    """All that a running strategy may touch."""

    @property
    def question(self) -> Question: ...

    @property
    def node(self) -> str:
        """This node's stable name."""
        ...

    @property
    def path(self) -> BranchPath:
        """Root of this node's randomness."""
        ...

    @property
    def equivalence(self) -> Equivalence: ...

    @property
    def streaming(self) -> bool:
        """False when the budget may bind: then nodes run one after another, so that who is cut
        short does not depend on timing.
        """
        ...

    def engine(self, role: str = "policy", *, purpose: Purpose = "policy") -> Engine:
        """Metered: charges the ledger, obeys the concurrency limit, records each call. What is
        asked to judge by is for the purpose "verifier".
        """
        ...

    def verifier(self, name: str, *, engine: str = "policy") -> Verifier:
        """The named verifier, asking the engine of that role."""
        ...

    def step_verifier(
        self, name: str, *, engine: str = "policy", place: str = "steps"
    ) -> StepVerifier:
        """The named step verifier, asking the engine of that role; the paths of its shadows begin
        at `place` below the node's.
        """
        ...

    def shadow(self, branch: Branch, *, engine: str = "policy") -> Branch:
        """A fork of a branch of that role's engine, for a verifier to read: what is done with it
        is the verifier's to pay.
        """
        ...

    def potential(self, fit: Fit) -> Potential:
        """What a text must fit. Raises `InputError` where none has that name."""
        ...

    def save(self, progress: Callable[[], object]) -> None:
        """Tell how to save this node's progress from here on.

        Args:
            progress: gives JSON values, from which `resumed` goes on as if nothing had happened;
                called now, later, or never, and until `save` is called again.
        """
        ...

    def resumed(self) -> object | None:
        """What this node saved in the run that this one goes on from; None where it begins. To be
        asked once, before anything is spent: what that run had spent on it is charged now.
        """
        ...

    def record(self, event: str, **fields: object) -> None:
        """Put a decision into the trace; fields are JSON values."""
        ...


class Strategy(Protocol):
    """One method, as a frozen dataclass of settings."""

    takes: ClassVar[Port]
    gives: ClassVar[Port]
    source: ClassVar[str]
    """Whose method it is, in one line: authors and year, and where it was published."""

    def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """Consume what comes in as it comes, yield what goes out as it is ready."""
        ...

    def bound(self, load: Load) -> Bound: ...

    def needs(self) -> dict[str, frozenset[str]]:
        """Capabilities (field names of `Capabilities`) needed, by engine role."""
        ...
