"""Grows a tree on engines: what a method asks for becomes forks, decodes and judged steps, and what
grew is told to it.

A child is judged as soon as it is drawn, and no expansion waits for another but where the method
says so. When the budget may bind, expansions go in waves instead: all decodes, then all
judgements, each in order, so that who is cut short does not depend on timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic

from ponder.runtime import Branch, BudgetExceeded, Sampling, Segment
from ponder.strategies.api import Context
from ponder.strategies.concurrency import all_of
from ponder.strategies.prompting import ask, held
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.lookahead import Rollout, judge_beyond, roll
from ponder.strategies.search.method import Expansion, State
from ponder.strategies.search.sprouts import Living, Sprout, candidate, described, ending, grown
from ponder.strategies.search.tree import End, Node, Tree, growth, order
from ponder.verifiers import Candidate, StepVerifier

if TYPE_CHECKING:
    from ponder.strategies.search.settings import TreeSearch


async def grow(ctx: Context, method: TreeSearch[State]) -> list[Candidate]:
    """Search until the method has no more to ask for, or the budget is over; best path first."""
    grower = Grower(ctx=ctx, method=method, state=method.start(ctx.path))
    try:
        await grower.plant()
        await (grower.flow() if ctx.streaming else grower.waves())
        await grower.settle()
    finally:
        grower.close()
    return grower.harvest()


@dataclass(slots=True, kw_only=True, eq=False)
class Grower(Generic[State]):
    ctx: Context
    method: TreeSearch[State]
    state: State
    cut: bool = False
    """The budget refused something."""
    _living: dict[int, Living] = field(default_factory=dict[int, Living])
    _bare: Branch | None = None
    """A shadow of no steps, where each path is judged as one step."""
    _begins: int = 0
    """Place in the journals where replies begin."""

    @property
    def _verifier(self) -> StepVerifier:
        return self.ctx.step_verifier(self.method.verifier, engine=self.method.verifier_engine)

    @property
    def tree(self) -> Tree:
        return self.state.tree

    async def plant(self) -> None:
        """Open the root's branches."""
        ctx, method = self.ctx, self.method
        try:
            branch = await ctx.engine(method.engine).open(ask(ctx.question), path=ctx.path)
            try:
                shadow = await self._verifier.open(ctx.question)
            except BaseException:
                branch.close()
                raise
        except BudgetExceeded:
            self.cut = True
            return
        self._living[0] = Living(branch=branch, shadow=shadow)
        self._begins = len(branch.tokens)
        if method.aggregate == "model":
            (self._bare,) = shadow.fork(1)

    async def flow(self) -> None:
        """Every expansion by itself."""
        limit = self.method.in_flight
        pending: dict[asyncio.Task[list[Sprout]], Expansion] = {}
        try:
            while True:
                while not self.cut and (limit is None or len(pending) < limit):
                    expansion = self.method.ask(self.state)
                    if expansion is None:
                        break
                    sprouts = self._fork(expansion)
                    pending[asyncio.create_task(self._expand(sprouts))] = expansion
                if not pending:
                    return
                waited = pending if limit is None else [next(iter(pending))]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in waited if task.done()]:
                    self._tell(pending.pop(task), task.result())
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def waves(self) -> None:
        """All that can be asked for, decoded, then judged, then told."""
        limit = self.method.in_flight
        while not self.cut:
            wave: list[tuple[Expansion, list[Sprout]]] = []
            while limit is None or len(wave) < limit:
                expansion = self.method.ask(self.state)
                if expansion is None:
                    break
                wave.append((expansion, self._fork(expansion)))
            if not wave:
                return
            drawn = [sprout for _, sprouts in wave for sprout in sprouts]
            await all_of(map(self._draw, drawn))
            await self._look_ahead(drawn)
            await self._judge(drawn)
            for expansion, sprouts in wave:
                self._tell(expansion, sprouts)

    def harvest(self) -> list[Candidate]:
        """What there is to answer with; the whole tree goes into the trace."""
        for node in list(self.tree.open()):
            left = End.BUDGET if self.cut else End.PRUNED
            self.tree.finish(node.number, End.EXPANDED if node.children else left)
        method, state, source = self.method, self.state, self.ctx.node
        grown = growth(self.tree, told_in_order=method.in_flight is not None)
        for place, node in enumerate(grown, start=1):
            self.ctx.record("node", **described(node, place))
        leaves = method.leaves(state)
        places = [list(node.place) for node in leaves]
        told = method.report(state)
        self.ctx.record("paths", verifier=method.verifier, places=places, **told)
        return [
            candidate(self.tree, node, source, i, method.weight(state, node))
            for i, node in enumerate(leaves)
        ]

    def close(self) -> None:
        for living in self._living.values():
            living.close()
        self._living.clear()
        if self._bare is not None:
            self._bare.close()

    async def settle(self) -> None:
        """Where no path is complete, let the policy finish the best one that can grow."""
        tree, goal = self.tree, End.GOAL
        best = min((n for n in tree.open() if n.number in self._living), key=order, default=None)
        if self.cut or best is None or any(node.end is goal for node in tree.nodes):
            return
        (sprout,) = self._fork(Expansion(node=best.number, width=1))
        rest = replace(self.method.sampling(0), temperature=0.0, stop=())
        room = self.method.max_tokens - best.path_tokens
        await self._draw(sprout, replace(rest, max_tokens=room))
        await self._judge([sprout])
        tree.finish(best.number, End.EXPANDED)
        self._take([sprout])
        self._release()

    async def _expand(self, sprouts: list[Sprout]) -> list[Sprout]:
        async def one(sprout: Sprout) -> None:
            await self._draw(sprout)
            await self._look_ahead([sprout])
            await self._judge([sprout])

        await all_of(map(one, sprouts))
        return sprouts

    def _fork(self, expansion: Expansion) -> list[Sprout]:
        above = self._living.get(expansion.node)
        if above is None:  # the root, when the budget did not even reach for the question
            return []
        branches = above.branch.fork(expansion.width)
        shadows = (self._bare or above.shadow).fork(expansion.width)
        places = self.tree.reserve(expansion.node, expansion.width)
        return [
            Sprout(parent=expansion.node, place=i, living=Living(branch=b, shadow=s))
            for i, b, s in zip(places, branches, shadows, strict=True)
        ]

    async def _draw(self, sprout: Sprout, params: Sampling | None = None) -> None:
        if params is None:
            above = self.tree[sprout.parent]
            params = self.method.sampling(above.path_tokens, above.depth)
        try:
            sprout.segment = await sprout.living.branch.extend(self._held(params))
        except BudgetExceeded:
            self.cut = True

    async def _judge(self, sprouts: Sequence[Sprout]) -> None:
        judged = [s for s in sprouts if s.segment is not None and s.segment.text.strip()]
        verdicts = await self._verifier.judge(
            [sprout.living.shadow for sprout in judged], list(map(self._shown, judged))
        )
        for sprout, verdict in zip(judged, verdicts, strict=True):
            sprout.hear(verdict)
        if self._bare is None:
            await judge_beyond(self._verifier, judged)

    async def _look_ahead(self, sprouts: Sequence[Sprout]) -> None:
        if not self.method.lookahead:
            return
        rollouts = [r for sprout in sprouts for r in self._rollout(sprout)]
        try:
            await roll(self.method, rollouts, self._held)
        finally:
            for rollout in rollouts:
                rollout.branch.close()
        self.cut = self.cut or any(rollout.cut for rollout in rollouts)

    def _held(self, params: Sampling) -> Sampling:
        """To the question's form, from where the reply began."""
        return held(self.ctx.question, params, self._begins)

    def _rollout(self, sprout: Sprout) -> list[Rollout]:
        """One, unless the path ends with its step."""
        segment = sprout.segment
        if segment is None or ending(self.method, self.tree, sprout.parent, segment) is not None:
            return []
        above = self.tree[sprout.parent]
        return [
            Rollout(
                sprout=sprout,
                branch=sprout.living.branch.fork(1)[0],
                path=self.tree.text(above.number) + segment.text,
                tokens=above.path_tokens + segment.usage.decoded,
                depth=above.depth + 1,
            )
        ]

    def _shown(self, sprout: Sprout) -> str:
        said = sprout.segment.text if sprout.segment is not None else ""
        if self._bare is None:
            return said
        return "".join([self.tree.text(sprout.parent), said, *sprout.beyond])

    def _tell(self, expansion: Expansion, sprouts: Sequence[Sprout]) -> None:
        self.method.tell(self.state, expansion, self._take(sprouts))
        self._release()

    def _take(self, sprouts: Sequence[Sprout]) -> list[Node]:
        """The sprouts that grew, as nodes."""
        for sprout in sprouts:
            if sprout.segment is None:
                sprout.living.close()
        return [self._add(s, s.segment) for s in sprouts if s.segment is not None]

    def _add(self, sprout: Sprout, segment: Segment) -> Node:
        step = grown(self.method, self.tree, sprout, segment)
        self.cut = self.cut or step.end is End.BUDGET
        scores = self.tree.scores(sprout.parent)
        scores += [] if step.score is None else [step.score]
        value = aggregate(self.method.aggregate, scores) if step.failure is None else None
        node = self.tree.add(sprout.parent, sprout.place, step, value)
        self._living[node.number] = sprout.living
        return node

    def _release(self) -> None:
        """Let go of what nodes that ended hold."""
        for number in self.tree.ended:
            living = self._living.pop(number, None)
            if living is not None:
                living.close()
        self.tree.ended.clear()
