"""What every tree search is told beside its own settings: how steps are drawn, where they end, and
what scores them. And what every tree search does as a strategy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar, Generic

from ponder.runtime import InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.fitting.steps import Fitting
from ponder.strategies.search.aggregation import check_aggregation
from ponder.strategies.search.growing import grow
from ponder.strategies.search.method import Method, State
from ponder.strategies.search.tree import Node, complete_or_last
from ponder.verifiers import step_verifier_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSearch(Method[State], Generic[State]):
    """Settings that all tree searches share."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.CANDIDATES

    verifier: str
    """Name of a step verifier; `ponder strategies` lists them."""
    verifier_engine: str = "policy"
    """Role of the engine that the step verifier asks."""
    engine: str = "policy"
    """Role of the engine that decodes."""
    aggregate: str = "last"
    """A path's value from its steps' scores: last, min, prod, mean, or model (the verifier reads
    the path as one step).
    """
    temperature: float = 0.8
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that make up this share; 1 is all."""
    step_stop: tuple[str, ...] = ("\n\n",)
    """Strings that end a step; none ends steps by `step_tokens` alone."""
    step_tokens: int = 256
    """Of one step."""
    max_tokens: int = 2048
    """Of one path."""
    depth: int = 40
    """Steps of one path."""
    goal: tuple[str, ...] = ("\\boxed{",)
    """A step that holds one of these completes its path, as an end token does."""
    lookahead: int = 0
    """Greedy steps drawn beyond each step, by whose end it is judged; they are thrown away (Snell
    et al., arXiv 2408.03314).
    """

    def check(self, *counts: str) -> None:
        """Raises `InputError` for shared settings, and counts of the method's own, out of range."""
        step_verifier_kind(self.verifier)
        check_aggregation(self.aggregate)
        for name in ("step_tokens", "max_tokens", "depth", *counts):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if self.lookahead < 0:
            raise InputError(f"lookahead is {self.lookahead!r}; it must be at least 0 steps")
        if not all(self.goal):
            raise InputError(f"goal is {self.goal!r}; it must be made of non-empty strings")
        self.sampling(0)

    @property
    def finals(self) -> int:
        """Of the steps, those that may run to the end of their path, since no other comes after."""
        return 0

    def sampling(self, drawn: int, depth: int = 0) -> Sampling:
        """How the next step is drawn on a path of `depth` steps that has `drawn` tokens."""
        final = self.finals > 0 and depth + 1 == self.depth
        room = self.max_tokens - drawn
        return Sampling(
            max_tokens=room if final else min(self.step_tokens, room),
            temperature=self.temperature,
            top_p=self.top_p,
            stop=() if final else self.step_stop,
        )

    @property
    def fitted(self) -> bool:
        """Whether paths must fit something: whole ones, which end tokens end, are answers."""
        return False

    def fitting(self, ctx: Context) -> Fitting | None:
        """What all paths must fit, token by token; None where anything may be drawn."""
        return None

    def leaves(self, state: State) -> list[Node]:
        """Complete paths if there are any, else all that were not grown further; best first."""
        return complete_or_last(state.tree)

    def weight(self, state: State, node: Node) -> float:
        """How many votes a leaf has."""
        return 1.0

    def report(self, state: State) -> dict[str, object]:
        """What a trace keeps of a search as a whole; JSON values."""
        return {}

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        for candidate in await grow(ctx, self):
            yield candidate

    def bound(self, load: Load) -> Bound:
        kind = step_verifier_kind(self.verifier)
        steps = self.steps * (1 + self.lookahead)
        draws = steps * (self.step_tokens if self.fitted else 1)
        shown = self.max_tokens if self.aggregate == "model" else self.step_tokens
        each = self.step_tokens + shown + kind.extra_tokens
        # Beside the steps, one path may be finished and judged where none is complete.
        whole = (self.finals + 1) * 2 * self.max_tokens + kind.extra_tokens
        return Bound(
            calls=steps + draws + 2,
            tokens=2 * load.prompt_tokens + steps * each + whole,
            branches=2 * (self.steps * (2 if self.lookahead else 1) + 2),
            candidates=self.steps + 1,
            candidate_tokens=self.max_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        found = {self.engine: frozenset({"prefix_continuation"})}
        asked = step_verifier_kind(self.verifier).needs
        found[self.verifier_engine] = found.get(self.verifier_engine, frozenset()) | asked
        return found


def check_division(width: int, expand: int) -> None:
    """Raises `InputError` unless whole prefixes, `expand` next steps each, make up `width`."""
    if width % expand:
        raise InputError(f"expand is {expand!r}; it must divide width, which is {width!r}")
