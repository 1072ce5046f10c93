"""The branches of a search: for each node that may grow, the policy's and its shadow. Children's
paths are functions of their places alone, so that it does not matter when they are forked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ponder.strategies.api import Context
from ponder.strategies.fitting.steps import Fitting
from ponder.strategies.prompting import ask
from ponder.strategies.search.method import Planned
from ponder.strategies.search.saving import Rooted, SavedSearch
from ponder.strategies.search.sprouts import Living, Sprout
from ponder.strategies.search.tree import Tree
from ponder.verifiers import Shadow, ShadowJudge


class Steering(Protocol):
    """Who draws and who judges."""

    @property
    def engine(self) -> str: ...

    @property
    def verifier(self) -> str: ...

    @property
    def verifier_engine(self) -> str: ...

    @property
    def aggregate(self) -> str: ...

    def fitting(self, ctx: Context) -> Fitting | None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Branches:
    """See the module."""

    ctx: Context
    method: Steering
    living: dict[int, Living] = field(default_factory=dict[int, Living])
    """By node."""
    bare: Shadow | None = None
    """A shadow of no steps, where each path is judged as one step."""
    begins: int = 0
    """Place in the policy's journals where replies begin."""
    fitting: Fitting | None = field(init=False)

    def __post_init__(self) -> None:
        self.fitting = self.method.fitting(self.ctx)

    @property
    def verifier(self) -> ShadowJudge:
        method = self.method
        asked = self.ctx.step_verifier(method.verifier, engine=method.verifier_engine)
        return ShadowJudge(verifier=asked)

    async def plant(self) -> None:
        """Open the root's branches. Raises `BudgetExceeded`."""
        ctx, method = self.ctx, self.method
        branch = await ctx.engine(method.engine).open(ask(ctx.question), path=ctx.path)
        try:
            shadow = await self.verifier.open(ctx.question)
        except BaseException:
            branch.close()
            raise
        stood = None if self.fitting is None else self.fitting.begin()
        self.living[0] = Living(branch=branch, shadow=shadow, stood=stood)
        self.begins = len(branch.tokens)
        if method.aggregate == "model":
            (self.bare,) = shadow.fork(1)

    async def reopen(self, saved: SavedSearch) -> None:
        """One after another, so that each finds what the ones before it have in common with it.
        Raises `BudgetExceeded`.
        """
        if self.method.aggregate == "model" and saved.rooted:
            self.bare = await self.verifier.reopen(self.ctx.question, saved.bare)
        for number, rooted in saved.rooted.items():
            self.living[number] = await self._reopened(rooted)

    def sow(self, tree: Tree, planned: Planned) -> list[Sprout]:
        """The children that are to grow."""
        expansion, first = planned.expansion, planned.first
        above = self.living.get(expansion.node)
        if above is None:  # the root, when the budget did not even reach for the question
            return []
        branches = above.branch.fork(expansion.width, name=str(first))
        shadow, name = above.shadow, str(first)
        if self.bare is not None:
            shadow, name = self.bare, ".".join(map(str, (*tree[expansion.node].place, first)))
        shadows = shadow.fork(expansion.width, name=name)
        return [
            Sprout(
                parent=expansion.node,
                place=first + i,
                living=Living(branch=b, shadow=s, stood=above.stood),
            )
            for i, (b, s) in enumerate(zip(branches, shadows, strict=True))
        ]

    def release(self, tree: Tree) -> None:
        """Let go of what nodes that ended hold."""
        for number in tree.ended:
            living = self.living.pop(number, None)
            if living is not None:
                living.close()
        tree.ended.clear()

    def standing(self) -> dict[int, Rooted]:
        return {
            number: Rooted(branch=living.branch.standing(), shadow=living.shadow.standing())
            for number, living in self.living.items()
        }

    def close(self) -> None:
        """They still tell where they stood."""
        for living in self.living.values():
            living.close()
        if self.bare is not None:
            self.bare.close()

    async def _reopened(self, rooted: Rooted) -> Living:
        ctx = self.ctx
        branch = await ctx.engine(self.method.engine).reopen(ask(ctx.question), rooted.branch)
        self.begins = len(branch.tokens) - len(rooted.branch.tokens)
        try:
            if self.bare is not None:  # who grows from here is judged on forks of that one
                (shadow,) = self.bare.fork(1)
            else:
                shadow = await self.verifier.reopen(ctx.question, rooted.shadow)
            said = branch.tokens[self.begins :]
            stood = None if self.fitting is None else await self.fitting.follow(said)
        except BaseException:
            branch.close()
            raise
        return Living(branch=branch, shadow=shadow, stood=stood)
