"""Grows a tree on engines: what a method asks for becomes forks, decodes and judged steps, and what
grew is told to it.

A child is judged as soon as it is drawn, and no expansion waits for another but where the method
says so. When the budget may bind, expansions go in waves instead: all decodes, then all
judgements, each in order, so that who is cut short does not depend on timing.

A search can be saved whenever something was told: what was under way is asked for again, and grows
the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic

from ponder.runtime import BudgetExceeded, ModelError, Sampling, Segment
from ponder.strategies.api import Context
from ponder.strategies.concurrency import all_of
from ponder.strategies.prompting import held
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.branches import Branches
from ponder.strategies.search.lookahead import begun, judge_beyond, roll
from ponder.strategies.search.method import Expansion, Planned, State
from ponder.strategies.search.saving import SavedSearch, decoded, encoded
from ponder.strategies.search.sprouts import Sprout, candidate, described, grown
from ponder.strategies.search.tree import End, Node, Tree, growth, order
from ponder.verifiers import Candidate, Verdict

if TYPE_CHECKING:
    from ponder.strategies.search.settings import TreeSearch


async def grow(ctx: Context, method: TreeSearch[State]) -> list[Candidate]:
    """Search until the method has no more to ask for, or the budget is over; best path first."""
    branches = Branches(ctx=ctx, method=method)
    grower = Grower(ctx=ctx, method=method, branches=branches, state=method.start(ctx.path))
    try:
        await grower.begin()
        if not grower.over:
            await (grower.flow() if ctx.streaming else grower.waves())
            await grower.settle()
    finally:
        branches.close()
    return grower.harvest()


@dataclass(slots=True, kw_only=True, eq=False)
class Grower(Generic[State]):
    ctx: Context
    method: TreeSearch[State]
    state: State
    branches: Branches
    cut: bool = False
    """The budget refused something."""
    over: bool = False
    """There is nothing left to grow."""
    _under_way: list[Planned] = field(default_factory=list[Planned])
    _again: list[Planned] = field(default_factory=list[Planned])
    """What was under way when the search was saved."""

    @property
    def tree(self) -> Tree:
        return self.state.tree

    async def begin(self) -> None:
        """Open the root's branches, or those that the search had when it was saved."""
        found = self.ctx.resumed()
        try:
            if found is None:
                await self.branches.plant()
            else:
                saved = decoded(SavedSearch, found)
                self.state = decoded(type(self.state), saved.state)
                self._again, self.over = list(saved.under_way), saved.over
                await self.branches.reopen(saved)
        except BudgetExceeded:
            self.cut = True
        self.ctx.save(self.progress)

    def progress(self) -> Any:  # JSON values
        """All that a search is resumed from."""
        if self.over:
            return encoded(SavedSearch(state=encoded(self.state), over=True))
        bare = self.branches.bare
        return encoded(
            SavedSearch(
                state=encoded(self.state),
                under_way=[*self._under_way, *self._again],
                rooted=self.branches.standing(),
                bare=None if bare is None else bare.standing(),
            )
        )

    async def flow(self) -> None:
        """Every expansion by itself."""
        limit = self.method.in_flight
        pending: dict[asyncio.Task[list[Sprout]], Planned] = {}
        try:
            while True:
                while not self.cut and (limit is None or len(pending) < limit):
                    planned = self._next()
                    if planned is None:
                        break
                    sprouts = self.branches.sow(self.tree, planned)
                    pending[asyncio.create_task(self._expand(sprouts))] = planned
                if not pending:
                    return
                waited = pending if limit is None else [next(iter(pending))]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in waited if task.done()]:
                    self._tell(pending[task], task.result())
                    del pending[task]
                    self.ctx.save(self.progress)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def waves(self) -> None:
        """All that can be asked for, decoded, then judged, then told."""
        limit = self.method.in_flight
        while not self.cut:
            wave: list[tuple[Planned, list[Sprout]]] = []
            while limit is None or len(wave) < limit:
                planned = self._next()
                if planned is None:
                    break
                wave.append((planned, self.branches.sow(self.tree, planned)))
            if not wave:
                return
            drawn = [sprout for _, sprouts in wave for sprout in sprouts]
            await self._draw_all(drawn)
            await self._look_ahead(drawn)
            await self._judge(drawn)
            for planned, sprouts in wave:
                self._tell(planned, sprouts)
            self.ctx.save(self.progress)

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
            replace(
                candidate(self.tree, node, source, i, method.weight(state, node)),
                whole=method.fitted,
            )
            for i, node in enumerate(leaves)
        ]

    async def settle(self) -> None:
        """Where no path is complete, let the policy finish the best one that can grow."""
        tree, living = self.tree, self.branches.living
        if self.branches.fitting is not None:  # what it would say then need not fit
            living = {}
        best = min((n for n in tree.open() if n.number in living), key=order, default=None)
        if not (self.cut or best is None or any(node.end is End.GOAL for node in tree.nodes)):
            await self._finish(best)
        self.over = not self.cut
        self.ctx.save(self.progress)

    async def _finish(self, best: Node) -> None:
        tree, last = self.tree, Expansion(node=best.number, width=1)
        (sprout,) = self.branches.sow(tree, Planned(expansion=last, first=best.asked))
        rest = replace(self.method.sampling(0), temperature=0.0, stop=())
        room = self.method.max_tokens - best.path_tokens
        await self._draw(sprout, replace(rest, max_tokens=room))
        await self._judge([sprout])
        tree.finish(best.number, End.EXPANDED)
        self._take([sprout])
        self.branches.release(tree)

    def _next(self) -> Planned | None:
        """What to grow now; places are given in the order of asking."""
        if self._again:
            planned = self._again.pop(0)
        else:
            expansion = self.method.ask(self.state)
            if expansion is None:
                return None
            first = self.tree.reserve(expansion.node, expansion.width).start
            planned = Planned(expansion=expansion, first=first)
        self._under_way.append(planned)
        return planned

    async def _expand(self, sprouts: list[Sprout]) -> list[Sprout]:
        async def one(sprout: Sprout) -> None:
            await self._draw(sprout)
            await self._look_ahead([sprout])
            await self._judge([sprout])

        await all_of(map(one, sprouts))
        return sprouts

    async def _draw(self, sprout: Sprout, params: Sampling | None = None) -> None:
        if params is None:
            above = self.tree[sprout.parent]
            params = self.method.sampling(above.path_tokens, above.depth)
        fitting, drawn = self.branches.fitting, self.tree[sprout.parent].path_tokens
        try:
            if fitting is None:
                sprout.segment = await sprout.living.branch.extend(self._held(params))
            else:
                await sprout.fit(fitting, params, self.method.max_tokens - drawn)
        except BudgetExceeded:
            self.cut = True

    async def _draw_all(self, sprouts: Sequence[Sprout]) -> None:
        """Steps of many calls one after another: what is left of a budget goes to the first."""
        together = self.branches.fitting is None or self.method.step_tokens == 1
        for some in [sprouts] if together else [[sprout] for sprout in sprouts]:
            await all_of(map(self._draw, some))

    async def _judge(self, sprouts: Sequence[Sprout]) -> None:
        judged = [s for s in sprouts if s.segment is not None and self._says(s.segment)]
        verifier = self.branches.verifier
        verdicts = await verifier.judge(
            [sprout.living.shadow for sprout in judged], list(map(self._shown, judged))
        )
        for sprout, verdict in zip(judged, verdicts, strict=True):
            sprout.hear(verdict)
        if self.branches.bare is None:
            await judge_beyond(verifier, judged)
        for sprout in judged:
            self._check_alive(sprout.verdict)

    def _says(self, segment: Segment) -> bool:
        """Whether there is something to judge."""
        return bool(segment.tokens if self.method.fitted else segment.text.strip())

    def _check_alive(self, verdict: Verdict | None) -> None:
        """A search goes on without its verifier's engine, but not without its policy's: then it
        ends before it is told of failures that another day's resuming would not have.
        """
        shared = self.method.verifier_engine == self.method.engine
        if shared and verdict is not None and verdict.down:
            raise ModelError(verdict.failure or "")

    async def _look_ahead(self, sprouts: Sequence[Sprout]) -> None:
        if not self.method.lookahead:
            return
        rollouts = [r for sprout in sprouts for r in begun(self.method, self.tree, sprout)]
        try:
            await roll(self.method, rollouts, self._held)
        finally:
            for rollout in rollouts:
                rollout.branch.close()
        self.cut = self.cut or any(rollout.cut for rollout in rollouts)

    def _held(self, params: Sampling) -> Sampling:
        """To the question's form, from where the reply began."""
        return held(self.ctx.question, params, self.branches.begins)

    def _shown(self, sprout: Sprout) -> str:
        said = sprout.segment.text if sprout.segment is not None else ""
        if self.branches.bare is None:
            return said
        return "".join([self.tree.text(sprout.parent), said, *sprout.beyond])

    def _tell(self, planned: Planned, sprouts: Sequence[Sprout]) -> None:
        self.method.tell(self.state, planned.expansion, self._take(sprouts))
        self._under_way.remove(planned)
        self.branches.release(self.tree)

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
        self.branches.living[node.number] = sprout.living
        return node
