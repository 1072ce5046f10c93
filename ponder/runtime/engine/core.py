"""The engine's tables and its step; only the engine's thread touches them.

Commands change the tables between steps. A step asks the scheduler who computes what, runs the
model once, and ends the jobs that have what they want. Knows nothing of event loops beyond the
jobs' own `end` and `commit`.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from weakref import ref

from ponder.runtime.engine import refusals
from ponder.runtime.engine.build import Build
from ponder.runtime.engine.counts import Counts
from ponder.runtime.engine.edits import Edit
from ponder.runtime.engine.jobs import Decode, Job, Prefill, Showing, Warm
from ponder.runtime.engine.journal import Journal, Past, Source
from ponder.runtime.engine.lane import Lane, Share
from ponder.runtime.engine.outcome import Outcome
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.readings import Reading
from ponder.runtime.engine.scheduler import Scheduler
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import PAGE, Runner
from ponder.runtime.values import Finish


class Core:
    """Lanes, pages, prefix tree and model."""

    def __init__(self, runner: Runner, pages: int, step_tokens: int) -> None:
        self.pool = PagePool(pages)
        self.tree = RadixTree(self.pool)
        self.scheduler = Scheduler(self.pool, self.tree, step_tokens)
        self.counts = Counts()
        self.runner = runner
        self._outcome = Outcome(runner, self.counts)
        self._context = runner.config.context_length
        runner.reserve(pages)
        self._lanes: dict[int, Lane] = {}
        self._arrivals = count()
        self._temporary = count(-1, -1)
        self._deadlines: list[tuple[float, int, ref[Decode]]] = []
        self.shown: set[int] = set()
        """Lanes for which somebody is about to pick, and that are worth waiting for."""

    @property
    def busy(self) -> bool:
        return len(self.scheduler.roster) > 0

    @property
    def pickers(self) -> int:
        """Calls of those who pick, where a step now would be for them alone; else 0."""
        roster = self.scheduler.roster
        return len(roster) if all(isinstance(job, Showing) for job in roster.jobs) else 0

    def lanes(self) -> list[Lane]:
        """All of them, for inspection."""
        return list(self._lanes.values())

    def open(
        self, ident: int, tokens: Sequence[int], priority: int, job: Job, *, salt: str = ""
    ) -> None:
        self._add(ident, Journal.of(tokens), View(self.pool), priority, salt)
        self.start(ident, job)

    def start(self, ident: int, job: Job, tokens: Sequence[int] = ()) -> None:
        """Give a lane its next job, after `tokens` are added to it."""
        lane = self._lanes[ident]
        lane.journal.tokens += tokens
        lane.settle()
        pages = -(-job.target(len(lane.tokens)) // PAGE)
        if pages > self.pool.total:
            self._refuse(job, pages)
            self._release(lane)
        else:
            lane.job = job
            self._warm(lane)
            if isinstance(job, Decode) and job.deadline is not None:
                entry = (job.deadline, next(self._arrivals), ref(job))
                heapq.heappush(self._deadlines, entry)
            self.scheduler.roster.note(lane)

    def read(self, ident: int, readings: Iterable[Reading]) -> None:
        """Run each reading on a fork of the lane that computes anew what is read."""
        for reading in readings:
            child = self._fork(self._lanes[ident], next(self._temporary))
            child.truncate(reading.stop)
            if reading.stop <= child.journal.plain:
                child.journal.past = Past()
            child.view.truncate(reading.start)
            self.start(child.ident, reading, reading.given)

    def fork(self, ident: int, children: Sequence[int]) -> None:
        parent = self._lanes[ident]
        parent.settle()
        self._remember(parent)
        for child in children:
            self._fork(parent, child)

    def truncate(self, ident: int, length: int) -> None:
        lane = self._lanes[ident]
        lane.truncate(length)
        lane.settle()
        self.scheduler.roster.note(lane)

    def settle(self, ident: int) -> None:
        """Nobody picks of what was shown."""
        self.shown.discard(ident)
        self.truncate(ident, len(self._lanes[ident].tokens))

    def pick(self, ident: int, tokens: Sequence[int]) -> None:
        """Add the token that was picked after a `Showing`, or none."""
        if tokens:
            self.shown.discard(ident)
            self._lanes[ident].journal.tokens += tokens
            self.counts.drew()
        else:
            self.counts.looked()
            self.settle(ident)

    def edit(self, ident: int, edit: Edit, others: Sequence[int], job: Job) -> None:
        """Put a journal in place of another, and keep what KV it says."""
        lane = self._lanes[ident]
        lane.settle()
        self._remember(lane)
        owners = [lane, *(self._lanes[other] for other in others)]
        views = _seed(edit, owners)
        if edit.kept and not lane.build:
            lane.view.truncate(edit.kept)
        else:
            lane.forget()
        lane.journal = edit.journal.copy()
        if views:
            lane.build = Build(self.pool, lane.journal.past, views)
        lane.prepare(self.pool)
        self.start(ident, job)

    def replace(self, ident: int, journal: Journal) -> None:
        """Take back an edit."""
        lane = self._lanes[ident]
        lane.forget()
        lane.journal = journal
        lane.promised = len(lane.tokens) - 1
        self.scheduler.roster.note(lane)

    def share(self, ident: int, peers: Sequence[int]) -> None:
        """Show the lane its peers' tails from now on. What it computes then depends on who was how
        far, so its KV cannot be computed again and is pinned.
        """
        lane = self._lanes[ident]
        lane.settle()
        lane.pins += lane.live is None
        seen = [self._lanes[peer] for peer in peers]
        self._drop(lane.watch(seen, max(0, lane.journal.own - 1)))

    def pin(self, ident: int, change: int) -> None:
        self._lanes[ident].pins += change

    def close(self, ident: int) -> None:
        lane = self._lanes.pop(ident)
        self.shown.discard(ident)
        lane.settle()
        self._remember(lane)
        self._close(lane)

    def step(self) -> None:
        """Advance every job that has a share in the next step."""
        self._time_out(time.monotonic())
        for lane in self.scheduler.roster.running:
            if lane.over:
                self._release(lane)
        schedule = self.scheduler.schedule()
        for lane in schedule.blocked:
            self._warm(lane)
        for lane in schedule.refused:
            in_vain = [other for other in schedule.blocked if lane in other.waits()]
            for each in (lane, *in_vain):
                self._turn_down(each)
        running = [share for share in schedule.shares if share.rows and self._in_context(share)]
        if running:
            self._outcome.run(running)
        for share in schedule.shares:
            self._advance(share.lane)

    def _add(self, ident: int, journal: Journal, view: View, priority: int, salt: str) -> Lane:
        lane = Lane(
            ident=ident,
            journal=journal,
            view=view,
            priority=priority,
            arrival=next(self._arrivals),
            salt=salt,
        )
        self._lanes[ident] = lane
        self.scheduler.roster.note(lane)
        return lane

    def _fork(self, parent: Lane, ident: int) -> Lane:
        journal, view = parent.journal.fork(), parent.view.fork()
        child = self._add(ident, journal, view, parent.priority, parent.salt)
        if parent.live:
            child.pins += 1
            child.watch(parent.live.peers, parent.live.border)
        return child

    def _remember(self, lane: Lane) -> None:
        known = min(lane.view.length, lane.plain)
        self.tree.insert(lane.tokens[:known], lane.view.spans, salt=lane.salt)

    def _refuse(self, job: Job, pages: int) -> None:
        pinned = sum(lane.pins > 0 for lane in self._lanes.values())
        job.end(refusals.no_pages(pages, self.pool.total, pinned))

    def _turn_down(self, lane: Lane) -> None:
        if lane.job is not None:
            self._refuse(lane.job, self.pool.total + 1)
            self._release(lane)

    def _release(self, lane: Lane) -> None:
        """The lane's job is over."""
        lane.job = None
        self.scheduler.roster.note(lane)
        if lane.ident < 0:
            del self._lanes[lane.ident]
            self._close(lane)

    def _close(self, lane: Lane) -> None:
        """Let go of it, or leave its tail to those that see it."""
        lane.closed = True
        lane.job = None
        self.scheduler.roster.note(lane)
        self._drop(lane.leave())
        self._drop([] if lane.watchers else [lane])

    def _drop(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            lane.forget()
            self.scheduler.roster.drop(lane)

    def _warm(self, lane: Lane) -> None:
        """Have computed again what the lane is to see of others."""
        for peer in lane.live.missing() if lane.live else ():
            if peer.over:
                peer.job = Warm()
                self.scheduler.roster.note(peer)

    def _time_out(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            job = heapq.heappop(self._deadlines)[2]()
            if job is not None:
                job.close(Finish.BUDGET)

    def _in_context(self, share: Share) -> bool:
        """Whether the model has positions for the rows: those of a live view run ahead of its
        tokens.
        """
        lane, job = share.lane, share.lane.job
        end = share.end
        if end <= self._context or job is None:
            return True
        lane.view.truncate(lane.view.length - share.rows)
        if isinstance(job, Decode):
            job.close(Finish.LENGTH)
        elif isinstance(job, Showing):
            job.end()
        else:
            job.end(refusals.too_many_seen(end, self._context))
        return False

    def _advance(self, lane: Lane) -> None:
        """End the lane's job if it has all it wants."""
        job = lane.job
        if lane.build:
            lane.prepare(self.pool)
        if isinstance(job, Prefill | Reading | Warm) and not lane.todo():
            job.end(record=partial(self.counts.end, job))
        if job is not None and job.over:
            if isinstance(job, Showing) and job.row is not None:
                self.shown.add(lane.ident)
            else:
                lane.settle()
            self._release(lane)


def _seed(edit: Edit, owners: Sequence[Lane]) -> Mapping[Source, View]:
    """Views of the sources' first tokens, where their branches have KV."""
    views: dict[Source, View] = {}
    for seed in edit.seeds:
        view = owners[seed.whose].view
        if view.length and view.length >= len(seed.source.past):
            views[seed.source] = view.fork()
            views[seed.source].truncate(seed.length)
    return views
