"""Steps judged by where they lead: greedy steps drawn beyond each, which the verifier is shown and
which are then thrown away (lookahead search; Snell et al., arXiv 2408.03314; dossier S 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ponder.runtime import Branch, BudgetExceeded, Finish, Sampling
from ponder.strategies.concurrency import all_of
from ponder.strategies.search.sprouts import Limits, Sprout, answered, ending
from ponder.strategies.search.tree import Tree
from ponder.verifiers import ShadowJudge

Held = Callable[[Sampling], Sampling]
"""Holds a decode to the form of the reply."""


class Ahead(Limits, Protocol):
    """What decides how far to look."""

    @property
    def lookahead(self) -> int: ...

    def sampling(self, drawn: int, depth: int = 0) -> Sampling: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Rollout:
    """What may come after a step that was just drawn."""

    sprout: Sprout
    branch: Branch
    """A fork of the sprout's."""
    path: str
    """The text so far."""
    tokens: int
    """Of the path."""
    depth: int
    """Steps of the path."""
    over: bool = False
    """It goes no further."""
    cut: bool = False
    """Since the budget refused it."""

    async def draw(self, method: Ahead, held: Held) -> None:
        """One more step."""
        params = replace(method.sampling(self.tokens, self.depth), temperature=0.0)
        try:
            segment = await self.branch.extend(held(params))
        except BudgetExceeded:
            self.over = self.cut = True
            return
        self.sprout.ahead += segment.usage.decoded
        self.tokens += segment.usage.decoded
        self.path += segment.text
        self.depth += 1
        says = bool(segment.text.strip())
        if says:
            self.sprout.beyond.append(segment.text)
        self.cut = segment.finish is Finish.BUDGET
        self.over = (
            self.cut
            or not says
            or segment.finish is Finish.EOS
            or answered(method, self.path, segment.finish)
            or self.tokens >= method.max_tokens
            or self.depth >= method.depth
        )


def begun(limits: Limits, tree: Tree, sprout: Sprout) -> list[Rollout]:
    """One, unless the path ends with its step."""
    segment = sprout.segment
    if segment is None or ending(limits, tree, sprout.parent, segment) is not None:
        return []
    above = tree[sprout.parent]
    return [
        Rollout(
            sprout=sprout,
            branch=sprout.living.branch.fork(1)[0],
            path=tree.text(above.number) + segment.text,
            tokens=above.path_tokens + segment.usage.decoded,
            depth=above.depth + 1,
        )
    ]


async def roll(method: Ahead, rollouts: Sequence[Rollout], held: Held) -> None:
    """Draw what comes after each, in rounds: who is refused by a budget does not depend on who was
    faster.
    """
    for _ in range(method.lookahead):
        await all_of(rollout.draw(method, held) for rollout in rollouts if not rollout.over)


async def judge_beyond(verifier: ShadowJudge, sprouts: Sequence[Sprout]) -> None:
    """Replace the verdict on each step by that on the end of what was drawn beyond it."""
    shown = [sprout for sprout in sprouts if sprout.beyond and sprout.judged]
    shadows = {id(sprout): sprout.living.shadow.fork(1)[0] for sprout in shown}
    try:
        for i in range(max((len(sprout.beyond) for sprout in shown), default=0)):
            shown = [s for s in shown if len(s.beyond) > i and s.judged]
            verdicts = await verifier.judge(
                [shadows[id(s)] for s in shown], [s.beyond[i] for s in shown]
            )
            for sprout, verdict in zip(shown, verdicts, strict=True):
                sprout.hear(verdict)
    finally:
        for shadow in shadows.values():
            shadow.close()
