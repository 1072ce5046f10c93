"""Calls under way: what each one still wants from the engine, and its way back to the event loop
that waits for it.

A job lives in two threads. The engine's thread feeds it; the caller's may end it at any moment.
Each change of `over` and of what was drawn is under the job's lock, so that a cancelled decode
keeps exactly the tokens that were counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from ponder.runtime.constraints.following import Follower
from ponder.runtime.engine.text import TextTail
from ponder.runtime.runners.sampler import Rule
from ponder.runtime.values import Finish, Segment, Usage

Command = Callable[[], None]
"""Something the engine's thread does between two steps."""


class Job:
    """One call on one branch. Made in the caller's event loop, unless nobody waits for it."""

    def __init__(self, *, awaited: bool = True) -> None:
        self.over = False
        self.error: Exception | None = None
        self.lock = Lock()
        self._loop = asyncio.get_running_loop() if awaited else None
        self._changed = asyncio.Event()

    def target(self, tokens: int) -> int:
        """How many of the branch's tokens need KV before the job goes on."""
        return tokens

    def wanted(self, tokens: int) -> int:
        """The first position whose logits are needed."""
        return tokens - 1

    async def finished(self) -> None:
        """Wait for the end; raises what the engine failed with."""
        while not self.over:
            await self.change()
        if self.error is not None:
            raise self.error

    async def change(self) -> None:
        """Wait for news."""
        await self._changed.wait()
        self._changed.clear()

    def end(self, error: Exception | None = None, *, record: Command | None = None) -> None:
        """End the job, from any thread, unless it is over. `record` runs if this ended it, and
        before the caller can know.
        """
        with self.lock:
            if self.over:
                return
            if record is not None:
                record()
            self.over, self.error = True, error
        self.wake()

    def wake(self) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            # The caller's event loop is closed: nobody waits any more.
            self.over = True


class Prefill(Job):
    """Compute the KV of given tokens, all but the last, which waits until logits are needed."""

    def __init__(self, given: int, start: int, *, waits: int = 0) -> None:
        super().__init__()
        self.given = given
        """Tokens the caller is charged for."""
        self.waits = waits
        """Those of them that are not computed yet when it ends: the last one, where the token that
        waited before is not behind `start`.
        """
        self.reached = start
        """Positions before this one are accounted for."""
        self.cached = 0
        self.fed = 0
        """Rows run for it, those that were run before and lost among them."""
        self.counted = False
        """Whether it is in the engine's counters, and so to be charged."""

    @property
    def usage(self) -> Usage:
        return Usage(prompt=self.given, cached=self.cached) if self.counted else Usage()

    def target(self, tokens: int) -> int:
        return tokens - 1

    def advance(self, stop: int, *, cached: bool) -> None:
        """KV is there up to `stop`; what is recomputed after a preemption counts once."""
        fresh = max(0, stop - self.reached)
        self.reached += fresh
        self.cached += fresh if cached else 0


class Warm(Job):
    """KV that others are to see; nobody waits for it but their branches."""

    def __init__(self) -> None:
        super().__init__(awaited=False)

    def target(self, tokens: int) -> int:
        return tokens - 1


class Showing(Job):
    """Show the logits after the newest token; whoever waits picks the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.row: npt.NDArray[np.float32] | None = None
        """Stays None where there is no position left."""

    def show(self, row: npt.NDArray[np.float32]) -> None:
        def note() -> None:
            self.row = row

        self.end(record=note)


class Decode(Job):
    """Draw tokens until something ends it."""

    def __init__(
        self,
        rule: Rule,
        key: tuple[int, int],
        *,
        limit: int,
        end_tokens: frozenset[int],
        deadline: float | None,
        tail: TextTail | None,
        announce: bool,
        confidence: int,
        follower: Follower | None = None,
    ) -> None:
        """With a `follower`, only what it allows is drawn."""
        super().__init__()
        self.rule = rule
        self.key = key
        self.confidence = confidence
        self.deadline = deadline
        self.tail = tail
        self.follower = follower
        self.drawn: list[int] = []
        self.logprobs: list[float] = []
        self.confidences: list[float] = []
        self.finish = Finish.CANCELLED
        self._limit = limit
        self._end_tokens = end_tokens
        self._announce = announce

    def commit(
        self, token: int, logprob: float, record: Command, confidence: float | None = None
    ) -> None:
        """Take a drawn token and `record` it, unless the caller ended the job before."""
        with self.lock:
            if self.over:
                return
            record()
            self.drawn.append(token)
            self.logprobs.append(logprob)
            if confidence is not None:
                self.confidences.append(confidence)
            if self.follower is not None:
                self.follower.push(token)
            reason = self._reason(token)
            if reason is not None:
                self.over, self.finish = True, reason
        if self.over or self._announce:
            self.wake()

    def segment(self, spell: Callable[[Sequence[int]], str]) -> Segment:
        """All that was drawn."""
        drawn = tuple(self.drawn)
        return Segment(
            text=spell(drawn) if self.tail is None else self.tail.whole,
            tokens=drawn,
            logprobs=tuple(self.logprobs),
            finish=self.finish,
            usage=Usage(decoded=len(drawn)),
            confidences=tuple(self.confidences),
        )

    def close(self, finish: Finish) -> None:
        """End for a reason from outside."""

        def note() -> None:
            self.finish = finish

        self.end(record=note)

    def _reason(self, token: int) -> Finish | None:
        if token in self._end_tokens:
            return Finish.EOS
        if self.tail is not None and self.tail.push(token):
            return Finish.STOP
        return Finish.LENGTH if len(self.drawn) >= self._limit else None
