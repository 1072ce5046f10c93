"""The life of one metered call: reserve, then settle and record, or give back, or be refused.

Knows the ledger and the trace; how an engine is called is `metered`'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ponder.orchestrator.channel import closing
from ponder.orchestrator.ledger import Account, Grant, Ledger, Spent
from ponder.orchestrator.recorder import Recorder
from ponder.runtime import (
    Branch,
    BranchPath,
    BudgetExceeded,
    Delta,
    Finish,
    Sampling,
    Scored,
    Segment,
    Usage,
)

# What a budget of calls counts; the others only prepare them.
COUNTED = frozenset({"extend", "score", "logits", "read", "embed"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Meter:
    """What all metered branches of one run share."""

    ledger: Ledger
    slots: asyncio.Semaphore
    """Shared by every run of a `Runtime`."""
    recorder: Recorder
    seconds: float | None
    """On the run's clock, when the budget's time is over."""
    branches: set[Branch] = field(default_factory=set[Branch])
    """Open ones."""

    def close(self) -> None:
        """Close every branch still open."""
        while self.branches:
            self.branches.pop().close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    meter: Meter
    account: Account
    path: BranchPath
    sequence: int
    """On its branch; 0 opens it."""
    kind: str

    async def room(self, most: int, past: int) -> tuple[Grant, int]:
        """For a decode behind `past` tokens that are sent again: what is granted, and how many may
        be drawn.
        """
        grant = await self.reserve(past + most, least=past + 1)
        return grant, grant.tokens - past

    async def reserve(self, tokens: int, *, least: int) -> Grant:
        """Raises `BudgetExceeded`, recorded, when not even `least` tokens are left."""
        try:
            return await self.meter.ledger.reserve(
                tokens, least=least, calls=int(self.kind in COUNTED)
            )
        except BudgetExceeded as error:
            self._refused(error)
            raise

    def check_time(self, now: float) -> None:
        if self.meter.seconds is not None and now >= self.meter.seconds:
            error = BudgetExceeded(f"the {self.meter.seconds} seconds of the budget are over")
            self._refused(error)
            raise error

    @asynccontextmanager
    async def within(self, now: float) -> AsyncGenerator[None]:
        """The budget's time, for a call that leaves no other event when it is over."""
        self.check_time(now)
        try:
            async with time_limit(self.meter.seconds, now):
                yield
        except BudgetExceeded as error:
            self._refused(error)
            raise

    def settle(self, grant: Grant | None, used: Usage, told: dict[str, Any]) -> None:
        """Pay out of a grant; without one, beside the budget."""
        if grant is None:
            self.meter.ledger.note(self.account, Spent(usage=used))
        else:
            self.meter.ledger.settle(grant, self.account, used)
        usage = {
            "prompt": used.prompt,
            "cached": used.cached,
            "decoded": used.decoded,
            "scored": used.scored,
        }
        if used.estimated:
            usage["estimated"] = used.estimated
        self._record({"event": "call", "kind": self.kind, **self._who(), "usage": usage, **told})

    def _refused(self, error: BudgetExceeded) -> None:
        self._record({"event": "refused", "kind": self.kind, **self._who(), "reason": str(error)})

    def _who(self) -> dict[str, Any]:
        return {"role": self.account.role, "purpose": self.account.purpose}

    def _record(self, event: dict[str, Any]) -> None:
        self.meter.recorder.call(self.account.node, self.path, self.sequence, event)


class Turn:
    """A place among the calls that run at once, which may be left before the call's end."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = False

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        self._held = True

    async def __aexit__(self, *error: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Again is no harm."""
        if self._held:
            self._held = False
            self._slots.release()


@asynccontextmanager
async def time_limit(seconds: float | None, now: float) -> AsyncGenerator[None]:
    """For calls that take no deadline themselves: the budget's time, turned into its error."""
    if seconds is None:
        yield
        return
    limit = asyncio.timeout(max(0.0, seconds - now))
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BudgetExceeded(f"the {seconds} seconds of the budget are over") from error


def limited(params: Sampling, room: int) -> Sampling:
    if room >= params.max_tokens:
        return params
    return replace(params, max_tokens=room)


def cut(segment: Segment, params: Sampling, room: int) -> Segment:
    """A decode that ran into a grant smaller than it asked for was cut by the budget."""
    short = room < params.max_tokens and segment.usage.decoded >= room
    if short and segment.finish is Finish.LENGTH:
        return replace(segment, finish=Finish.BUDGET)
    return segment


def said(segment: Segment) -> dict[str, Any]:
    """What a trace keeps of a decode."""
    return {
        "finish": segment.finish.value,
        "text": segment.text,
        "logprob": number(math.fsum(segment.logprobs)),
    }


def scores(scored: list[Scored]) -> list[float | None]:
    return [number(s.total) for s in scored]


def number(value: float) -> float | None:
    """JSON has no infinities."""
    return value if math.isfinite(value) else None


async def paced(pieces: AsyncIterator[Delta], slots: asyncio.Semaphore) -> AsyncGenerator[Delta]:
    """Takes a turn for each piece and not for the whole stream: its reader may call models too, and
    with one slot would wait for itself.
    """
    async with closing(pieces):
        while True:
            async with slots:
                delta = await anext(pieces, None)
            if delta is None:
                return
            yield delta
