"""Runs a checked expression: streaming, every node at once; or, where the budget may bind, one node
after another, so that who is cut short depends on nothing but the seed.

Knows tasks and channels; what a node may touch is its context's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import cast

from ponder.orchestrator.channel import Channel, closing
from ponder.orchestrator.context import NodeContext, Run
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.metrics import measure
from ponder.orchestrator.naming import name_of
from ponder.orchestrator.ports import takes
from ponder.runtime import BudgetExceeded
from ponder.strategies import Item, Port
from ponder.verifiers import Candidate


async def execute(run: Run, expression: Expression) -> None:
    """Run to the end; what comes out is in `run`.

    Raises:
        ExceptionGroup: nodes failed; the others were cancelled.
    """
    if run.streaming:
        async with asyncio.TaskGroup() as tasks:
            await Streaming(run, tasks).finish(expression)
    else:
        await one_by_one(run, expression, [run.question])


async def one_by_one(run: Run, part: Expression, items: list[Item]) -> list[Item]:
    """Everything `part` gives, in order."""
    if isinstance(part, Step):
        return in_order([item async for item in perform(run, part, Channel(items, writers=0))])
    if isinstance(part, Pipe):
        for piece in part.parts:
            items = await one_by_one(run, piece, items)
        return items
    if isinstance(part, When):
        arm = await choose(run, part, items)
        return await one_by_one(run, arm, entering(run, arm, items))
    given = [await one_by_one(run, c, entering(run, c, items)) for c in part.parts]
    return joined(given)


class Streaming:
    """Every node is a task that reads one channel and writes another."""

    def __init__(self, run: Run, tasks: asyncio.TaskGroup) -> None:
        self._run = run
        self._group = tasks
        self._started: list[asyncio.Task[None]] = []

    async def finish(self, expression: Expression) -> None:
        out = Channel(writers=1)
        self._start(expression, Channel([self._run.question], writers=0), out)
        async for _ in out:
            pass
        for task in self._started:
            task.cancel()

    def _start(self, part: Expression, source: Channel, out: Channel) -> None:
        if isinstance(part, Step):
            self._spawn(self._pump(part, source, out))
        elif isinstance(part, Pipe):
            for piece in part.parts[:-1]:
                between = Channel(writers=1)
                self._start(piece, source, between)
                source = between
            self._start(part.parts[-1], source, out)
        elif isinstance(part, When):
            self._spawn(self._branch(part, source, out))
        else:
            self._side_by_side(part, source, out)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._started.append(self._group.create_task(work))

    async def _pump(self, step: Step, source: Channel, out: Channel) -> None:
        async for item in perform(self._run, step, source):
            out.put(item)
        out.close()

    async def _branch(self, part: When, source: Channel, out: Channel) -> None:
        items = in_order([item async for item in source])
        arm = await choose(self._run, part, items)
        self._start(arm, Channel(entering(self._run, arm, items), writers=0), out)

    def _side_by_side(self, part: Parallel, source: Channel, out: Channel) -> None:
        readers: list[Channel] = []
        outs: list[Channel] = []
        for child in part.parts:
            again = takes(child) is Port.QUESTION
            entry = Channel([self._run.question], writers=0) if again else Channel(writers=1)
            readers += [] if again else [entry]
            outs.append(Channel(writers=1))
            self._start(child, entry, outs[-1])
        if readers:
            self._spawn(_copy(source, readers))
        if len(readers) > 1:
            self._spawn(_join(outs, out))
            return
        out.admit(len(outs) - 1)
        for given in outs:
            self._spawn(_copy(given, [out]))


async def perform(run: Run, step: Step, source: Channel) -> AsyncIterator[Item]:
    """One node. Where the budget ends it, what it had not passed on yet goes on as it came."""
    node = name_of(step)
    held: dict[tuple[str, int], Candidate] = {}

    async def watched() -> AsyncIterator[Item]:
        async for item in source:
            if isinstance(item, Candidate):
                held[item.source, item.index] = item
            yield item

    try:
        async with closing(step.strategy.run(NodeContext(run=run, node=node), watched())) as given:
            async for item in given:
                if isinstance(item, Candidate):
                    held.pop((item.source, item.index), None)
                run.note(node, item)
                yield item
    except (BudgetExceeded, ExceptionGroup) as error:
        if isinstance(error, ExceptionGroup) and error.split(BudgetExceeded)[1] is not None:
            raise
        run.meter.recorder.decision(node, "cut", {"reason": str(cause(error))})
        rest = [*held.values(), *[item async for item in source]]
        for item in in_order(rest) if step.strategy.gives is Port.CANDIDATES else ():
            run.note(node, item)
            yield item


async def choose(run: Run, part: When, items: list[Item]) -> Expression:
    candidates = [item for item in items if isinstance(item, Candidate)]
    condition = part.condition
    value = await measure(condition.metric, run.question, candidates, run.equivalence)
    held = condition.holds(value)
    run.meter.recorder.decision(
        name_of(part),
        "when",
        {
            "metric": condition.metric,
            "value": value,
            "of": len(candidates),
            "op": condition.op,
            "threshold": condition.threshold,
            "held": held,
        },
    )
    return part.then if held else part.otherwise


def entering(run: Run, arm: Expression, items: list[Item]) -> list[Item]:
    """An arm that takes the question starts from it again."""
    return items if takes(arm) is Port.CANDIDATES else [run.question]


def in_order(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda i: (i.source, i.index) if isinstance(i, Candidate) else ("", 0))


def cause(error: BaseException) -> BaseException:
    """The one failure inside a group; of failures that came together, the first, with a note."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    first, *others = cast(BaseExceptionGroup[BaseException], error).exceptions
    if others:
        first.add_note(f"and {len(others)} more failed with it: {others[0]!r}")
    return cause(first)


def joined(given: list[list[Item]]) -> list[Item]:
    """What children gave. A candidate that more than one passed on is one candidate: the last
    child's.
    """
    candidates = [item for items in given for item in items if isinstance(item, Candidate)]
    return in_order(list({(c.source, c.index): c for c in candidates}.values()))


async def _join(given: list[Channel], out: Channel) -> None:
    """A barrier: which of equal candidates is the last child's is known only at the end."""
    for item in joined([[item async for item in channel] for channel in given]):
        out.put(item)
    out.close()


async def _copy(source: Channel, readers: list[Channel]) -> None:
    async for item in source:
        for reader in readers:
            reader.put(item)
    for reader in readers:
        reader.close()
