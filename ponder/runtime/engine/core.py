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

from ponder.runtime.engine.jobs import Decode, Job, Prefill, Read, ScorePart
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.scheduler import Lane, Scheduler, Share
from ponder.runtime.engine.view import View
from ponder.runtime.errors import InputError, ModelError, PoolExhausted
from ponder.runtime.kernels.arrays import floats
from ponder.runtime.runners.api import PAGE, Runner, Work
from ponder.runtime.runners.sampler import NOT_FINITE, Draw, log_normalisers
from ponder.runtime.seeds import uniform
from ponder.runtime.values import Finish

ROWS = 128
"""Rows whose logits are held at once."""


@dataclass(slots=True, kw_only=True)
class Counts:
    prefilled: int = 0
    cached: int = 0
    decoded: int = 0
    scored: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A hidden state and the lane that waits for its logits."""

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
        self._arrivals = count()
        self._temporary = count(-1, -1)

    @property
    def busy(self) -> bool:
        return any(lane.job for lane in self._lanes.values())

    def open(self, ident: int, tokens: Sequence[int], priority: int, job: Job) -> None:
        self._add(ident, [], View(self.pool), priority)
        self.start(ident, job, tokens)

    def start(self, ident: int, job: Job, tokens: Sequence[int] = ()) -> None:
        """Give a lane its next job, after `tokens` are added to it."""
        lane = self._lanes[ident]
        lane.tokens += tokens
        self._settle(lane)
        pages = -(-job.target(len(lane.tokens)) // PAGE)
        if pages > self.pool.total:
            self._refuse(job, pages)
        else:
            lane.job = job

    def score(self, ident: int, parts: Iterable[ScorePart]) -> None:
        """Run each part on a fork of the lane."""
        parent = self._lanes[ident]
        for part in parts:
            child = next(self._temporary)
            self._add(child, list(parent.tokens), parent.view.fork(), parent.priority)
            self.start(child, part, part.given[:-1])

    def fork(self, ident: int, children: Sequence[int]) -> None:
        parent = self._lanes[ident]
        self._settle(parent)
        self._remember(parent)
        for child in children:
            self._add(child, list(parent.tokens), parent.view.fork(), parent.priority)

    def truncate(self, ident: int, length: int) -> None:
        lane = self._lanes[ident]
        del lane.tokens[length:]
        self._settle(lane)

    def close(self, ident: int) -> None:
        lane = self._lanes.pop(ident)
        self._settle(lane)
        self._remember(lane)
        lane.view.release()

    def step(self) -> None:
        """Advance every job that has a share in the next step."""
        self._reap(time.monotonic())
        schedule = self.scheduler.schedule(self._lanes.values())
        for lane in schedule.refused:
            if lane.job is not None:
                self._refuse(lane.job, self.pool.total + 1)
                self._release(lane)
        running = [share for share in schedule.shares if share.rows]
        if running:
            self._run(running)
        for share in schedule.shares:
            self._advance(share.lane)

    def _add(self, ident: int, tokens: list[int], view: View, priority: int) -> None:
        arrival = next(self._arrivals)
        self._lanes[ident] = Lane(
            ident=ident, tokens=tokens, view=view, priority=priority, arrival=arrival
        )

    def _settle(self, lane: Lane) -> None:
        """The last token's KV is computed when its logits are needed, never kept from before."""
        lane.view.truncate(max(0, len(lane.tokens) - 1))

    def _remember(self, lane: Lane) -> None:
        self.tree.insert(lane.tokens[: lane.view.length], lane.view.spans)

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
        if lane.ident < 0:
            lane.view.release()
            del self._lanes[lane.ident]

    def _reap(self, now: float) -> None:
        for lane in list(self._lanes.values()):
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
            for position in positions:
                job = share.lane.job
                if job is not None:
                    row = len(waiting)
                    waiting.append(_Row(lane=share.lane, job=job, row=row, position=position))
        hidden = self._runner.hidden(works)
        self.counts.steps += 1
        for start in range(0, len(waiting), ROWS):
            logits = self._runner.logits(hidden[start : start + ROWS])
            self._hand_out(logits, waiting[start : start + ROWS])

    def _hand_out(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        start = rows[0].row
        decodes = [row for row in rows if isinstance(row.job, Decode)]
        parts = [row for row in rows if isinstance(row.job, ScorePart)]
        if decodes:
            self._sample(_pick(logits, [row.row - start for row in decodes]), decodes)
        if parts:
            _score(_pick(logits, [row.row - start for row in parts]), parts)
        for row in rows:
            if isinstance(row.job, Read):
                _read(logits[row.row - start], row.job)

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

        if drawn.fault:
            job.end(_fault(drawn.fault, lane))
        else:
            job.commit(drawn.token, drawn.logprob, record)

    def _advance(self, lane: Lane) -> None:
        """End the lane's job if it has all it wants."""
        job = lane.job
        if isinstance(job, Prefill | ScorePart) and not lane.todo():
            job.end(record=partial(self._count, job))
        if job is not None and job.over:
            self._settle(lane)
            self._release(lane)

    def _count(self, job: Prefill | ScorePart) -> None:
        if isinstance(job, ScorePart):
            self.counts.scored += len(job.given)
        else:
            self.counts.cached += job.cached
            self.counts.prefilled += job.given - job.cached


def _work(share: Share) -> tuple[Work, range]:
    """A share as the plan wants it, and the positions whose logits are needed."""
    lane = share.lane
    stop = lane.view.length
    start = stop - share.rows
    wanted = stop if lane.job is None else max(start, lane.job.wanted(len(lane.tokens)))
    positions = range(min(wanted, stop), stop)
    work = Work(tokens=lane.tokens[start:stop], slots=lane.view.slots, wanted=len(positions))
    return work, positions


def _pick(logits: Tensor, rows: Sequence[int]) -> Tensor:
    return logits if len(rows) == len(logits) else logits[torch.tensor(rows)]


def _fault(reason: str, lane: Lane) -> Exception:
    if reason == NOT_FINITE:
        return ModelError(f"{reason} after {len(lane.tokens)} tokens; its weights may be damaged")
    return InputError(f"{reason}; leave one token allowed")


def _score(logits: Tensor, rows: Sequence[_Row]) -> None:
    norms = log_normalisers(logits)
    for i, row in enumerate(rows):
        if isinstance(row.job, ScorePart) and not row.job.over:
            if not bool(norms[i].isfinite()):
                row.job.end(_fault(NOT_FINITE, row.lane))
                continue
            token = row.job.given[len(row.job.logprobs)]
            value = float(logits[i, token].double() - norms[i].double())
            row.job.logprobs.append(min(value, 0.0))


def _read(logits: Tensor, job: Read) -> None:
    job.logits = floats(logits)
    job.end()
