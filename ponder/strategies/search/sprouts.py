"""From what was drawn to what is kept: a child under way, the node it becomes, the candidate and
the record made of a node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from ponder.runtime import Branch, Finish, Sampling, Segment, Usage
from ponder.strategies.fitting.steps import Fitting, Stood
from ponder.strategies.search.tree import End, Grown, Node, Tree
from ponder.verifiers import Candidate, Shadow, Verdict


class Limits(Protocol):
    """Where paths end."""

    @property
    def max_tokens(self) -> int: ...

    @property
    def depth(self) -> int: ...

    @property
    def fitted(self) -> bool:
        """Whether whole paths must fit something: then an end token alone completes one, and steps
        of white space are steps.
        """
        ...

    @property
    def goal(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Living:
    """What a node that may grow holds."""

    branch: Branch
    shadow: Shadow
    """The step verifier's."""
    stood: Stood | None = None
    """Where its text stands under what it must fit."""

    def close(self) -> None:
        self.branch.close()
        self.shadow.close()


@dataclass(slots=True, kw_only=True, eq=False)
class Sprout:
    """A child under way."""

    parent: int
    place: int
    living: Living
    segment: Segment | None = None
    log_weight: float = 0.0
    checks: int = 0
    verdict: Verdict | None = None
    beyond: list[str] = field(default_factory=list[str])
    """Steps drawn beyond its own, to judge it by."""
    ahead: int = 0
    """Tokens of those."""
    judging: int = 0
    """Tokens that its verifier was given and scored for it."""

    async def fit(self, fitting: Fitting, params: Sampling, rest: int) -> None:
        """Draw its step, of a path that may have `rest` more tokens."""
        living = self.living
        stood = fitting.begin() if living.stood is None else living.stood
        fitted = await fitting.step(living.branch, stood, params, rest=rest)
        self.segment, self.log_weight, self.checks = (
            fitted.segment,
            fitted.log_weight,
            fitted.checks,
        )
        self.living = replace(living, stood=fitted.stood)

    def hear(self, verdict: Verdict) -> None:
        """The newest verdict counts, and all of them are paid for."""
        self.verdict = verdict
        self.judging += verdict.usage.tokens

    @property
    def judged(self) -> bool:
        return self.verdict is not None and self.verdict.score is not None


_SCORED = (None, End.LENGTH, End.DEPTH)
"""Ends of steps that ask for a score; a step without one ended for want of it."""


def grown(limits: Limits, tree: Tree, sprout: Sprout, segment: Segment) -> Grown:
    """The step, with why it cannot grow if it cannot."""
    verdict = sprout.verdict
    score = verdict.score if verdict is not None else None
    why = ending(limits, tree, sprout.parent, segment)
    if sprout.log_weight == -math.inf:
        why = End.REFUSED
    return Grown(
        text=segment.text,
        tokens=segment.usage.decoded,
        logprobs=segment.logprobs,
        finish=segment.finish,
        judged=sprout.judging,
        score=score,
        failure=verdict.failure if verdict is not None else None,
        log_weight=sprout.log_weight,
        checks=sprout.checks,
        ahead=sprout.ahead,
        end=End.UNSCORED if score is None and why in _SCORED else why,
    )


def ending(limits: Limits, tree: Tree, parent: int, segment: Segment) -> End | None:
    """Why a path cannot grow beyond this step, whatever is thought of it."""
    if segment.finish is Finish.BUDGET:
        return End.BUDGET
    said = tree.text(parent) + segment.text
    marked = not limits.fitted and answered(limits, said, segment.finish)
    if marked or segment.finish in (Finish.EOS, Finish.TOOLS):
        return End.GOAL
    above = tree[parent]
    reasons = {
        End.EMPTY: not (limits.fitted or segment.text.strip()),
        End.LENGTH: above.path_tokens + segment.usage.decoded >= limits.max_tokens,
        End.DEPTH: above.depth + 1 >= limits.depth,
    }
    return next((end for end, holds in reasons.items() if holds), None)


def answered(limits: Limits, said: str, finish: Finish) -> bool:
    """Whether a path holds a complete answer; a step cut off in the middle of one goes on."""
    return finish is not Finish.LENGTH and any(mark in said for mark in limits.goal)


def candidate(tree: Tree, node: Node, source: str, index: int, weight: float) -> Candidate:
    """A path as an attempt; its value is its verdict."""
    failure = node.step.failure or "its last step was not judged"
    verdict = Verdict(score=node.value) if node.value is not None else Verdict(failure=failure)
    logprobs = tuple(p for step in tree.path(node.number) for p in step.step.logprobs)
    return Candidate(
        source=source,
        index=index,
        text=tree.text(node.number),
        finish=node.step.finish,
        logprobs=logprobs or None,
        usage=Usage(decoded=node.path_tokens),
        verdict=verdict,
        weight=weight,
    )


def described(node: Node, order: int) -> dict[str, object]:
    """What a trace keeps of the node that was the `order`-th to grow."""
    fitted: dict[str, object] = {}
    if node.step.log_weight or node.step.checks:
        weight = node.step.log_weight
        fitted = {"log_weight": weight if weight > -math.inf else None, "checks": node.step.checks}
    return {
        **fitted,
        "place": list(node.place),
        "order": order,
        "text": node.step.text,
        "tokens": node.step.tokens,
        "ahead": node.step.ahead,
        "judged": node.step.judged,
        "score": node.step.score,
        "value": node.value,
        "failure": node.step.failure,
        "end": node.end.value if node.end is not None else None,
    }
