"""A context that runs one strategy alone, on the scripted engine, with nothing metered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from ponder.runtime import Branch, BranchPath, Engine, ScriptedEngine
from ponder.strategies import Item, Purpose, Strategy
from ponder.verifiers import (
    Equivalence,
    ExactEquivalence,
    Fit,
    Potential,
    Question,
    StepVerifier,
    Verifier,
    potential_of,
    step_verifier_kind,
    verifier_kind,
)


@dataclass(slots=True, kw_only=True)
class Alone:
    """A `Context` for one strategy."""

    question: Question = field(default_factory=lambda: Question(text="How many?"))
    node: str = "node"
    seed: int = 0
    streaming: bool = True
    policy: Engine = field(default_factory=ScriptedEngine)
    equivalence: Equivalence = field(default_factory=ExactEquivalence)
    verifiers: dict[str, Verifier] = field(default_factory=dict)
    events: list[dict[str, object]] = field(default_factory=list)
    progress: Callable[[], object] | None = None

    @property
    def path(self) -> BranchPath:
        return BranchPath(self.seed, (self.node,))

    def engine(self, role: str = "policy", *, purpose: Purpose = "policy") -> Engine:
        return self.policy

    def verifier(self, name: str, *, engine: str = "policy") -> Verifier:
        return self.verifiers.get(name) or verifier_kind(name).build(self.policy, self.path)

    def step_verifier(
        self, name: str, *, engine: str = "policy", place: str = "steps"
    ) -> StepVerifier:
        return step_verifier_kind(name).build(self.policy, self.path.child(place))

    def shadow(self, branch: Branch, *, engine: str = "policy") -> Branch:
        return branch.fork(1)[0]

    def potential(self, fit: Fit) -> Potential:
        return potential_of(fit, {})

    def save(self, progress: Callable[[], object]) -> None:
        self.progress = progress

    def resumed(self) -> object | None:
        return None

    def record(self, event: str, **fields: object) -> None:
        self.events.append({"event": event, **fields})

    async def run(self, strategy: Strategy, items: Sequence[Item] = ()) -> list[Item]:
        async def stream() -> AsyncIterator[Item]:
            for item in items:
                yield item

        return [item async for item in strategy.run(self, stream())]
