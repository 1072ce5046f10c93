"""Tokens that are picked, under a budget: what is reserved, refused, held and told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from ponder.orchestrator import Budget
from ponder.orchestrator.calls import Meter
from ponder.orchestrator.ledger import Account, Ledger
from ponder.orchestrator.metered import MeteredEngine
from ponder.orchestrator.metered_branch import MeteredBranch
from ponder.orchestrator.recorder import Recorder
from ponder.orchestrator.trace import Event
from ponder.runtime import BranchPath, BudgetExceeded, Row, Sampling, ScriptedEngine, Usage

ACCOUNT = Account(node="pick", role="policy", purpose="policy")
PROMPT = "abc"


class Clock(ScriptedEngine):
    """Whose time is set."""

    now = 0.0

    def clock(self) -> float:
        return self.now


class Desk:
    """A metered engine that says `xxxx...`, and what it was charged and recorded."""

    def __init__(self, *, slots: int = 1, tokens: int | None = None, seconds: float | None = None):
        self.engine = Clock(lambda prompt: {"x" * 900: 1.0})
        self.ledger = Ledger(Budget(tokens=tokens))
        self.recorder = Recorder({"pick": 0}, self.engine.clock, None)
        meter = Meter(
            ledger=self.ledger,
            slots=asyncio.Semaphore(slots),
            recorder=self.recorder,
            seconds=seconds,
        )
        self.metered = MeteredEngine(engine=self.engine, meter=meter, account=ACCOUNT, started=0.0)

    async def open(self, step: int = 0) -> MeteredBranch:
        return await self.metered.open(PROMPT, path=BranchPath(1).child(step))

    @property
    def usage(self) -> Usage:
        return self.ledger.paid[ACCOUNT].usage

    @property
    def events(self) -> list[Event]:
        return [event for event in self.recorder.events() if event["kind"] == "extend"]


async def best(row: Row) -> int:
    return int(row.argmax())


async def none(row: Row) -> None:
    return None


def run(law: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):  # where it would wait for itself
            await law()

    asyncio.run(bounded())


def test_a_pick_costs_one_token_and_is_refused_when_none_is_left() -> None:
    async def law() -> None:
        desk = Desk(tokens=len(PROMPT) + 2)
        branch = await desk.open()
        asked = 0

        async def counted(row: Row) -> int:
            nonlocal asked
            asked += 1
            return int(row.argmax())

        for _ in range(2):
            await branch.draw(counted)
        with pytest.raises(BudgetExceeded):
            await branch.draw(counted)
        assert asked == 2
        assert branch.text == "xx"
        assert desk.usage == Usage(prompt=len(PROMPT), decoded=2)
        assert [event["event"] for event in desk.events] == ["call", "call", "refused"]

    run(law)


def test_what_was_not_picked_goes_back() -> None:
    async def law() -> None:
        desk = Desk(tokens=len(PROMPT) + 2)
        branch = await desk.open()

        async def fails(row: Row) -> int:
            raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await branch.draw(fails)
        await branch.draw(none)
        await branch.draw(best)
        assert desk.usage == Usage(prompt=len(PROMPT), decoded=1, scored=1)
        assert [event.get("error") for event in desk.events[:4]] == [
            *["ZeroDivisionError"] * 3,
            None,
        ]

    run(law)


def test_no_pick_when_the_time_is_over() -> None:
    async def law() -> None:
        desk = Desk(seconds=5.0)
        branch = await desk.open()
        await branch.draw(best)
        desk.engine.now = 5.0
        with pytest.raises(BudgetExceeded):
            await branch.draw(best)
        assert branch.text == "x"
        assert desk.usage.decoded == 1

    run(law)


def test_who_thinks_holds_no_turn() -> None:
    async def law() -> None:
        desk = Desk(slots=1)
        branch, other = await desk.open(0), await desk.open(1)

        async def consults(row: Row) -> int:
            await other.extend(Sampling(max_tokens=3))
            return int(row.argmax())

        await branch.draw(consults)
        assert (branch.text, other.text) == ("x", "xxx")
        await asyncio.gather(branch.draw(best), other.draw(best))  # the turn was left once

    run(law)


def test_turns_are_given_back_whatever_happens() -> None:
    async def law() -> None:
        desk = Desk(slots=1)
        branch, other = await desk.open(0), await desk.open(1)
        shown, never = asyncio.Event(), asyncio.Event()

        async def hangs(row: Row) -> int:
            shown.set()
            await never.wait()
            return 0

        task = asyncio.create_task(branch.draw(hangs))
        await shown.wait()
        await other.extend(Sampling(max_tokens=2))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await branch.draw(best)
        slots = desk.metered.meter.slots
        await slots.acquire()
        assert slots.locked()

    run(law)


def test_a_trace_of_picks_is_small() -> None:
    """4,000 of them, as eight particles of 500 tokens make, are under two megabytes."""

    async def law() -> None:
        desk = Desk()
        branch = await desk.open()
        for _ in range(100):
            await branch.draw(best)
        line = max(len(json.dumps(event)) for event in desk.events)
        assert line < 400
        assert [event["text"] for event in desk.events] == ["x"] * 100

    run(law)
