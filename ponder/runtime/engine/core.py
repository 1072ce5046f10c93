"""The engine's tables and its step; only the engine's thread touches them.

Commands change the tables between steps. A step asks the scheduler who computes what, lays it out
as a plan, runs the model once, and hands logits to the jobs that wait for them. Knows nothing of
event loops beyond the jobs' own `end` and `commit`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import torch
from torch import Tensor

from ponder.runtime.engine.jobs import Decode, Job, Prefill
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.readings import Reading, StateReading
from ponder.runtime.engine.scheduler import Lane, Scheduler, Share
from ponder.runtime.engine.view import View
from ponder.runtime.errors import InputError, ModelError, PoolExhausted
from ponder.runtime.kernels.arrays import booleans
from ponder.runtime.runners.api import PAGE, Runner, Work
from ponder.runtime.runners.sampler import NOT_FINITE, Draw
from ponder.runtime.seeds import uniform
from ponder.runtime.values import Finish

ROWS = 128
"""Rows whose logits are held at once."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """As `EngineStats` says."""

    prefilled: int = 0
    opened: int = 0
    decoded: int = 0
    scored: int = 0
    recomputed: int = 0
    dropped: int = 0
    computed: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A hidden state, and who waits for what comes of it."""

    lane: Lane
    job: Job
    row: int
    position: int


class Core:
    """Lanes, pages, prefix tree and model."""

    def __init__(self, runner: Runner, pages: int, step_tokens: int) -> None:
        self.pool = PagePool(pages)
        self.tree = RadixTree(self.pool)
        self.scheduler = Scheduler(self.pool, self.tree, step_tokens)
        self.counts = Counts()
        self._runner = runner
        runner.reserve(pages)
        self._lanes: dict[int, Lane] = {}
        self._running: dict[int, Lane] = {}
        """Those that have jobs: what a step costs must not depend on how many wait for a call."""
        self._arrivals = count()
        self._temporary = count(-1, -1)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def open(
        self, ident: int, tokens: Sequence[int], priority: int, job: Job, *, salt: str = ""
    ) -> None:
        lane = self._add(ident, View(self.pool))
        lane.priority, lane.salt = priority, salt
        self.start(ident, job, tokens)

    def start(self, ident: int, job: Job, tokens: Sequence[int] = ()) -> None:
        """Give a lane its next job, after `tokens` are added to it."""
        lane = self._lanes[ident]
        lane.tokens += tokens
        self._settle(lane)
        pages = -(-job.target(len(lane.tokens)) // PAGE)
        if pages > self.pool.total:
            self._refuse(job, pages)
            self._release(lane)
        else:
            lane.job = job
            self._running[ident] = lane

    def read(self, ident: int, readings: Iterable[Reading]) -> None:
        """Run each reading on a fork of the lane that computes anew what is read."""
        parent = self._lanes[ident]
        for reading in readings:
            child = self._fork(parent, next(self._temporary))
            del child.tokens[reading.stop :]
            child.view.truncate(reading.start)
            self.start(child.ident, reading, reading.given)

    def fork(self, ident: int, children: Sequence[int]) -> None:
        parent = self._lanes[ident]
        self._settle(parent)
        self._remember(parent)
        for child in children:
            self._fork(parent, child)

    def truncate(self, ident: int, length: int) -> None:
        lane = self._lanes[ident]
        del lane.tokens[length:]
        self._settle(lane)

    def close(self, ident: int) -> None:
        lane = self._lanes.pop(ident)
        self._running.pop(ident, None)
        self._settle(lane)
        self._remember(lane)
        lane.view.release()

    def step(self) -> None:
        """Advance every job that has a share in the next step."""
        self._reap(time.monotonic())
        schedule = self.scheduler.schedule(self._running.values(), self._lanes.values())
        for lane in schedule.refused:
            if lane.job is not None:
                self._refuse(lane.job, self.pool.total + 1)
                self._release(lane)
        running = [share for share in schedule.shares if share.rows]
        if running:
            self._run(running)
        for share in schedule.shares:
            self._advance(share.lane)

    def _add(self, ident: int, view: View) -> Lane:
        lane = Lane(ident=ident, tokens=[], view=view, priority=0, arrival=next(self._arrivals))
        self._lanes[ident] = lane
        return lane

    def _fork(self, parent: Lane, ident: int) -> Lane:
        lane = self._add(ident, parent.view.fork())
        lane.tokens = list(parent.tokens)
        lane.priority, lane.salt, lane.reached = parent.priority, parent.salt, parent.reached
        return lane

    def _settle(self, lane: Lane) -> None:
        """The last token's KV is computed when its logits are needed, never kept from before."""
        settled = max(0, len(lane.tokens) - 1)
        lane.view.truncate(settled)
        lane.reached = min(lane.reached, settled)

    def _remember(self, lane: Lane) -> None:
        self.tree.insert(lane.tokens[: lane.view.length], lane.view.spans, salt=lane.salt)

    def _refuse(self, job: Job, pages: int) -> None:
        job.end(
            PoolExhausted(
                f"one branch needs {pages} or more KV pages of {PAGE} tokens; the pool has "
                f"{self.pool.total}: open the engine with more pages, or shorten the branch"
            )
        )

    def _release(self, lane: Lane) -> None:
        """The lane's job is over."""
        lane.job = None
        self._running.pop(lane.ident, None)
        if lane.ident < 0:
            lane.view.release()
            del self._lanes[lane.ident]

    def _reap(self, now: float) -> None:
        for lane in list(self._running.values()):
            job = lane.job
            if isinstance(job, Decode) and job.deadline is not None and now >= job.deadline:
                job.close(Finish.BUDGET)
            if job is not None and job.over:
                self._release(lane)

    def _run(self, shares: Sequence[Share]) -> None:
        works: list[Work] = []
        waiting: list[_Row] = []
        for share in shares:
            work, positions = _work(share)
            works.append(work)
            self._account(share, len(positions))
            for position in positions:
                job = share.lane.job
                if job is not None:
                    row = len(waiting)
                    waiting.append(_Row(lane=share.lane, job=job, row=row, position=position))
        hidden = self._runner.hidden(works)
        self.counts.steps += 1
        states = [row for row in waiting if isinstance(row.job, StateReading)]
        if states:
            self._read(_pick(hidden, states), states)
            waiting = [row for row in waiting if not isinstance(row.job, StateReading)]
        for start in range(0, len(waiting), ROWS):
            rows = waiting[start : start + ROWS]
            self._hand_out(self._runner.logits(_pick(hidden, rows)), rows)

    def _account(self, share: Share, wanted: int) -> None:
        """What is computed for its KV alone is news, or lost once; the rest is dropped unless
        somebody takes what comes of it.
        """
        lane, stop = share.lane, share.lane.view.length
        start = stop - share.rows
        again = min(max(0, lane.reached - start), share.rows - wanted)
        self.counts.computed += share.rows
        self.counts.recomputed += again
        self.counts.prefilled += share.rows - wanted - again
        self.counts.dropped += wanted
        lane.reached = max(lane.reached, stop)

    def _hand_out(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        decodes = [i for i, row in enumerate(rows) if isinstance(row.job, Decode)]
        readings = [i for i, row in enumerate(rows) if isinstance(row.job, Reading)]
        for kind, take in ((decodes, self._sample), (readings, self._read)):
            if kind:
                some = logits if len(kind) == len(rows) else logits[torch.tensor(kind)]
                take(some, [rows[i] for i in kind])

    def _read(self, values: Tensor, rows: Sequence[_Row]) -> None:
        finite = booleans(values.isfinite().all(dim=1))
        for i, row in enumerate(rows):
            if isinstance(row.job, Reading) and row.job.accept(values[i], finite[i]):
                self.counts.scored += 1
                self.counts.dropped -= 1

    def _sample(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        jobs = [row.job for row in rows if isinstance(row.job, Decode)]
        points = [uniform(job.key, row.position + 1) for job, row in zip(jobs, rows, strict=True)]
        draws = self._runner.draw(logits, [job.rule for job in jobs], points)
        for row, job, drawn in zip(rows, jobs, draws, strict=True):
            self._commit(row.lane, job, drawn)

    def _commit(self, lane: Lane, job: Decode, drawn: Draw) -> None:
        def record() -> None:
            lane.tokens.append(drawn.token)
            self.counts.decoded += 1
            self.counts.dropped -= 1

        if drawn.fault:
            job.end(_fault(drawn.fault, lane))
        else:
            job.commit(drawn.token, drawn.logprob, record)

    def _advance(self, lane: Lane) -> None:
        """End the lane's job if it has all it wants."""
        job = lane.job
        if isinstance(job, Prefill | Reading) and not lane.todo():
            job.end(record=partial(self._count, job))
        if job is not None and job.over:
            self._settle(lane)
            self._release(lane)

    def _count(self, job: Prefill | Reading) -> None:
        if isinstance(job, Prefill) and job.opens:
            self.counts.opened += 1
            self.counts.prefilled += 1


def _work(share: Share) -> tuple[Work, range]:
    """A share as the plan wants it, and the positions whose logits are needed."""
    lane = share.lane
    stop = lane.view.length
    start = stop - share.rows
    wanted = stop if lane.job is None else max(start, lane.job.wanted(len(lane.tokens)))
    positions = range(min(wanted, stop), stop)
    work = Work(tokens=lane.tokens[start:stop], slots=lane.view.slots, wanted=len(positions))
    return work, positions


def _pick(hidden: Tensor, rows: Sequence[_Row]) -> Tensor:
    """The hidden states of some rows, in their order."""
    first, last = rows[0].row, rows[-1].row
    if last - first + 1 == len(rows):
        return hidden[first : last + 1]
    return hidden[torch.tensor([row.row for row in rows])]


def _fault(reason: str, lane: Lane) -> Exception:
    if reason == NOT_FINITE:
        return ModelError(f"{reason} after {len(lane.tokens)} tokens; its weights may be damaged")
    return InputError(f"{reason}; leave one token allowed")
