"""What a strategy costs at most, node by node, before anything runs.

Bounds are worst cases: every attempt as long as it may be, nothing cached, and of two ways the
dearer. Pages assume that no two branches share any. An engine that forks by text is sent, and
charges, a branch's past with each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.checking import check, restating
from ponder.orchestrator.expression import Expression, Pipe, Step, When
from ponder.orchestrator.naming import kind_of, name_of, nodes
from ponder.orchestrator.ports import arms, restarts, takes
from ponder.runtime import Engine
from ponder.strategies import Bound, Load, Port, ask
from ponder.verifiers import Potential, Question

PAGE = 16
"""Tokens a KV page holds."""
ASSUMED_PROMPT = 200
"""Tokens, where no question is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """At most. Costs of nodes add up; all nodes may be at work at once."""

    calls: int = 0
    tokens: int = 0
    branches: int = 0
    """KV branches alive at once; 0 on engines that fork by text."""
    pages: int = 0
    """KV pages held at once."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            calls=self.calls + other.calls,
            tokens=self.tokens + other.tokens,
            branches=self.branches + other.branches,
            pages=self.pages + other.pages,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    name: str
    operation: str
    cost: Cost
    candidates: int
    """Going out."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    strategy: str
    """As it is written in Python."""
    prompt_tokens: int
    assumed_prompt: bool
    """No question was given, so its length is a guess."""
    nodes: tuple[PlannedNode, ...]
    total: Cost
    """Of the dearer way where ways part: not always the nodes' sum."""
    notes: tuple[str, ...]
    may_bind: tuple[str, ...]
    """Limits of the budget ("tokens", "calls") that the worst case breaks."""


def plan(
    expression: Expression,
    engines: Engine | Mapping[str, Engine],
    *,
    question: Question | None = None,
    budget: Budget | None = None,
    potentials: Mapping[str, Potential] | None = None,
) -> Plan:
    """Check a strategy and add up its bounds.

    Raises:
        InputError: the strategy cannot run on these engines.
    """
    roles = by_role(engines)
    whole = check(expression, roles, question, potentials)
    policy = roles.get("policy") or next(iter(roles.values()))
    prompt = policy.count(ask(question)) if question else ASSUMED_PROMPT
    sheet = _Sheet(roles)
    empty = Load(prompt_tokens=prompt, candidates=0, candidate_tokens=0)
    total, _ = sheet.add(whole, empty)
    return Plan(
        strategy=repr(expression),
        prompt_tokens=prompt,
        assumed_prompt=question is None,
        nodes=tuple(sheet.rows),
        total=total,
        notes=tuple(_notes(expression, whole, roles)),
        may_bind=_binding(total, budget or Budget()),
    )


def _notes(
    expression: Expression, whole: Expression, engines: Mapping[str, Engine]
) -> Iterator[str]:
    for part in restarts(expression):
        yield f"`{part!r}` starts from the question again"
    for node in nodes(whole):
        for engine in restating(node, engines) if isinstance(node, Step) else ():
            yield f"node {name_of(node)!r}: {engine!r} is told in a user turn how its reply begins"


def by_role(engines: Engine | Mapping[str, Engine]) -> dict[str, Engine]:
    """One engine alone is the policy."""
    return dict(engines) if isinstance(engines, Mapping) else {"policy": engines}


class _Sheet:
    """Adds up an expression, a row a node."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self.rows: list[PlannedNode] = []

    def add(self, part: Expression, load: Load) -> tuple[Cost, Load]:
        """What `part` costs under `load`, and the load it passes on."""
        if isinstance(part, Step):
            return self._step(part, load)
        if isinstance(part, Pipe):
            total = Cost()
            for piece in part.parts:
                cost, load = self.add(piece, load)
                total += cost
            return total, load
        place = len(self.rows)
        sides = [self.add(arm, entering(arm, load)) for arm in arms(part)]
        if isinstance(part, When):
            cost, passed = _dearest(c for c, _ in sides), _widest([p for _, p in sides])
        else:
            cost, passed = sum((c for c, _ in sides), Cost()), _joined([p for _, p in sides])
        row = PlannedNode(
            name=name_of(part),
            operation=kind_of(part),
            cost=Cost(),
            candidates=passed.candidates,
            note="one of two ways" if isinstance(part, When) else "",
        )
        self.rows.insert(place, row)
        return cost, passed

    def _step(self, step: Step, load: Load) -> tuple[Cost, Load]:
        bound = step.strategy.bound(load)
        cost = self._cost(step, bound, load)
        self.rows.append(
            PlannedNode(
                name=name_of(step),
                operation=kind_of(step),
                cost=cost,
                candidates=bound.candidates,
            )
        )
        passed = Load(
            prompt_tokens=load.prompt_tokens,
            candidates=bound.candidates,
            candidate_tokens=bound.candidate_tokens,
        )
        return cost, passed

    def _cost(self, step: Step, bound: Bound, load: Load) -> Cost:
        forks = {self._engines[role].capabilities.fork for role in step.strategy.needs()}
        longest = load.prompt_tokens + max(bound.candidate_tokens, load.candidate_tokens)
        branches = bound.branches if "kv" in forks else 0
        resent = bound.calls * longest if "text" in forks else 0
        return Cost(
            calls=bound.calls,
            tokens=bound.tokens + resent,
            branches=branches,
            pages=branches * -(-longest // PAGE),
        )


def entering(arm: Expression, load: Load) -> Load:
    """An arm that takes the question sees no candidates."""
    if takes(arm) is Port.CANDIDATES:
        return load
    return Load(prompt_tokens=load.prompt_tokens, candidates=0, candidate_tokens=0)


def _dearest(costs: Iterable[Cost]) -> Cost:
    ways = list(costs)
    return Cost(
        calls=max(c.calls for c in ways),
        tokens=max(c.tokens for c in ways),
        branches=max(c.branches for c in ways),
        pages=max(c.pages for c in ways),
    )


def _widest(loads: list[Load]) -> Load:
    return Load(
        prompt_tokens=loads[0].prompt_tokens,
        candidates=max(load.candidates for load in loads),
        candidate_tokens=max(load.candidate_tokens for load in loads),
    )


def _joined(loads: list[Load]) -> Load:
    return Load(
        prompt_tokens=loads[0].prompt_tokens,
        candidates=sum(load.candidates for load in loads),
        candidate_tokens=max(load.candidate_tokens for load in loads),
    )


def _binding(total: Cost, budget: Budget) -> tuple[str, ...]:
    limits = {"tokens": (budget.tokens, total.tokens), "calls": (budget.calls, total.calls)}
    return tuple(name for name, (limit, most) in limits.items() if limit and most > limit)
