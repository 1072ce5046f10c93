"""What one run shares, and the part of it that one node sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from ponder.orchestrator.calls import Meter
from ponder.orchestrator.ledger import Account
from ponder.orchestrator.metered import MeteredEngine
from ponder.orchestrator.saving import SavedNode, Saver
from ponder.runtime import Branch, BranchPath, Engine, InputError, unknown
from ponder.strategies import Answer, Item, Purpose
from ponder.verifiers import (
    Candidate,
    Equivalence,
    Fit,
    Potential,
    Question,
    StepVerifier,
    Verifier,
    potential_of,
    step_verifier_kind,
    verifier_kind,
)

Place = tuple[str, int]
"""(source, index) of a candidate."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One question under way."""

    question: Question
    seed: int
    engines: Mapping[str, Engine]
    started: Mapping[str, float]
    """Each engine's clock when the run began."""
    meter: Meter
    equivalence: Equivalence
    potentials: Mapping[str, Potential]
    streaming: bool
    order: Mapping[str, int]
    """Nodes in reading order."""
    saver: Saver
    before: dict[str, SavedNode]
    """What nodes saved in the run that this one goes on from, until they take it up."""
    seen: dict[Place, tuple[int, Candidate]] = field(
        default_factory=dict[Place, tuple[int, Candidate]]
    )
    """Candidates as the last node to pass them on left them."""
    answer: Answer | None = None

    def note(self, node: str, item: Item) -> None:
        """Keep what a node gave."""
        if isinstance(item, Candidate):
            place = (item.source, item.index)
            if place not in self.seen or self.seen[place][0] <= self.order[node]:
                self.seen[place] = (self.order[node], item)
        elif isinstance(item, Answer):
            self.answer = item
            fields = {"text": item.text, "confidence": item.confidence, "chosen": item.chosen}
            self.meter.recorder.answer(node, fields)

    def metered(self, node: str, role: str, purpose: Purpose) -> MeteredEngine:
        if role not in self.engines:
            raise InputError(f"node {node!r}: {unknown('engine role', role, self.engines)}")
        return MeteredEngine(
            engine=self.engines[role],
            meter=self.meter,
            account=Account(node=node, role=role, purpose=purpose),
            started=self.started[role],
        )

    def candidates(self) -> list[Candidate]:
        """All that were made, by node and index."""
        found = (candidate for _, candidate in self.seen.values())
        return sorted(found, key=lambda c: (self.order.get(c.source, -1), c.source, c.index))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeContext:
    """A `Context` for one node."""

    run: Run
    node: str

    @property
    def question(self) -> Question:
        return self.run.question

    @property
    def path(self) -> BranchPath:
        return BranchPath(self.run.seed, (self.node,))

    @property
    def equivalence(self) -> Equivalence:
        return self.run.equivalence

    @property
    def streaming(self) -> bool:
        return self.run.streaming

    def engine(self, role: str = "policy", *, purpose: Purpose = "policy") -> Engine:
        return self.run.metered(self.node, role, purpose)

    def verifier(self, name: str, *, engine: str = "policy") -> Verifier:
        asked = self.run.metered(self.node, engine, "verifier")
        return verifier_kind(name).build(asked, self.path)

    def step_verifier(
        self, name: str, *, engine: str = "policy", place: str = "steps"
    ) -> StepVerifier:
        asked = self.run.metered(self.node, engine, "verifier")
        return step_verifier_kind(name).build(asked, self.path.child(place))

    def shadow(self, branch: Branch, *, engine: str = "policy") -> Branch:
        return self.run.metered(self.node, engine, "verifier").lent(branch)

    def potential(self, fit: Fit) -> Potential:
        return potential_of(fit, self.run.potentials)

    def save(self, progress: Callable[[], object]) -> None:
        self.run.saver.save(self.node, progress)

    def resumed(self) -> object | None:
        found = self.run.before.pop(self.node, None)
        if found is None:
            return None
        ledger = self.run.meter.ledger
        for account, spent in found.paid:
            ledger.paid_before(account, spent, binds=not self.streaming)
        for account, spent in found.beside:
            ledger.note(account, spent)
        for account, spent in (*found.paid, *found.beside):
            who = {"role": account.role, "purpose": account.purpose}
            self.record("spent", **who, calls=spent.calls, usage=asdict(spent.usage))
        progress: object = found.progress
        return progress

    def record(self, event: str, **fields: object) -> None:
        self.run.meter.recorder.decision(self.node, event, fields)
