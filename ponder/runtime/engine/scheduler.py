"""Who computes what in the next step: continuous batching under one token budget.

Decodes, prefill chunks and readings share a step, by priority (higher first), then arrival. When
pages run out, the prefix tree gives back what only it holds; then the lowest priority's youngest
branch loses its KV, to be recomputed from its journal. The first in rank can take everything that
is not pinned, so work never deadlocks; who does not fit even then is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ponder.runtime.engine.jobs import Prefill
from ponder.runtime.engine.lane import Lane, Share
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.roster import Roster
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    shares: Sequence[Share]
    """By rank; without rows where a lane's job has all it wants, or is over."""
    refused: Sequence[Lane]
    """Lanes that do not fit into the pool alone."""
    blocked: Sequence[Lane]
    """Lanes that wait for others' KV."""


class Scheduler:
    """Plans steps; moves pages, computes nothing."""

    def __init__(self, pool: PagePool, tree: RadixTree, step_tokens: int) -> None:
        self.roster = Roster()
        self.preempted = 0
        self._pool = pool
        self._tree = tree
        self._step_tokens = step_tokens
        self._running: list[Lane] = []
        self._idle: list[Lane] | None = None
        self._placed: set[int] = set()
        self._pressed = False
        """Somebody had to wait for pages, or lost some."""
        self._dry = False
        """Nobody is left to take pages from."""

    def schedule(self) -> Schedule:
        """Share out one step among the lanes that have jobs."""
        running = self.roster.running
        self._running, self._idle = list(running), None
        self._placed, self._pressed, self._dry = set(), False, False
        budget = self._budget(running)
        shares: list[Share] = []
        refused: list[Lane] = []
        blocked: list[Lane] = []
        for lane in self._in_order(running):
            lane.prepare(self._pool)
            if lane.waits():
                blocked.append(lane)
                continue
            decode = lane.goes_on()
            rows = self._place(lane, budget[decode], first=not shares)
            budget[decode] -= rows
            if rows or not lane.todo() or lane.over:
                shares.append(Share(lane=lane, rows=rows))
            elif not shares and budget[decode]:
                refused.append(lane)
            if not any(budget.values()):
                break
        return Schedule(shares=shares, refused=refused, blocked=blocked)

    def preempt(self, lane: Lane) -> None:
        """Take a lane's KV; its journal stays."""
        lane.forget()
        self.roster.note(lane)
        self.preempted += 1

    def _in_order(self, running: Sequence[Lane]) -> Iterator[Lane]:
        """By rank; those without pages only until somebody had to wait."""
        waiting = iter(list(self.roster.waiting))
        ahead = next(waiting, None)
        for lane in running:
            while ahead and not self._pressed and ahead.rank < lane.rank:
                yield ahead
                ahead = next(waiting, None)
            if lane.held or not self._pressed:
                yield lane
        while ahead and not self._pressed:
            yield ahead
            ahead = next(waiting, None)

    def _budget(self, running: Sequence[Lane]) -> dict[bool, int]:
        """Rows for decodes (True), and for chunks (False): what is left, but at least an eighth."""
        decodes = sum(lane.goes_on() for lane in running)
        chunks = max(self._step_tokens - decodes, self._step_tokens // 8, 1)
        return {True: self._step_tokens, False: chunks}

    def _reuse(self, lane: Lane) -> None:
        """Take over KV that appeared in the tree, written in this very step perhaps."""
        job, build = lane.job, lane.build
        if job is None or not lane.todo():
            return
        if build:
            known = len(lane.line) if build.from_tokens else 0
        else:
            total = len(lane.tokens)
            plain = 0 if lane.journal.past.pieces else lane.plain
            known = min(job.target(total), job.wanted(total), plain)
        spans = self._tree.match(lane.line[:known], salt=lane.salt)
        if sum(span.length for span in spans) > lane.tip.length:
            fresh = View(self._pool, spans)
            lane.tip.release()
            if build:
                build.view = fresh
                return
            lane.view = fresh
            if isinstance(job, Prefill):
                job.advance(fresh.length, cached=True)

    def _place(self, lane: Lane, budget: int, *, first: bool) -> int:
        """Grow the lane's tip by what it computes in this step; returns by how much.

        Only the first in rank and those that just go on take pages from others that run. The rest
        wait until there is room for all they need: let in too early, they would be thrown out.
        """
        if lane.over:
            return 0
        goes_on = lane.goes_on()
        if _shared(lane):
            self._reuse(lane)
        todo = lane.todo()
        rows = min(todo, budget)
        if not rows:
            self.roster.note(lane)
            return 0
        if first or goes_on:
            self._make_room(lane, rows, by_rank=True)
            if first and lane.tip.pages_needed(rows) > self._pool.free:
                self._tree.evict(self._pool.total, all_leaves=True)
            if first and self._in_pieces(lane, rows):
                self.preempt(lane)
                rows = min(lane.todo(), budget)
        elif self._pressed or not self._make_room(lane, todo, by_rank=False):
            self._turn_away(lane)
            return 0
        return self._grow(lane, min(rows, lane.tip.fits()))

    def _turn_away(self, lane: Lane) -> None:
        self._pressed = True
        if not lane.pins and not lane.watchers:
            self._insert(lane, lane.tip.length)
            lane.forget()
        self.roster.note(lane)

    def _grow(self, lane: Lane, rows: int) -> int:
        job, shared = lane.job, _shared(lane)
        if rows and job is not None:
            lane.tip.grow(rows)
            self._placed.add(lane.ident)
            if isinstance(job, Prefill) and not lane.build:
                job.advance(lane.view.length, cached=False)
            if shared:
                # Others find at once what this step will have written: writes precede reads.
                wanted = len(lane.line) if lane.build else job.wanted(len(lane.tokens))
                self._insert(lane, min(lane.tip.length, wanted))
        self.roster.note(lane)
        return rows

    def _insert(self, lane: Lane, length: int) -> None:
        """Let others find what depends on tokens alone."""
        known = min(length, lane.plain)
        self._tree.insert(lane.line[:known], lane.tip.spans, salt=lane.salt)

    def _make_room(self, lane: Lane, rows: int, *, by_rank: bool) -> bool:
        while (missing := lane.tip.pages_needed(rows) - self._pool.free) > 0:
            if self._dry:
                return False
            if self._tree.evict(missing):
                continue
            victim = self._victim(lane, by_rank=by_rank)
            if victim is None:
                self._dry = by_rank
                return False
            self._pressed |= victim.job is not None
            self.preempt(victim)
        return True

    def _in_pieces(self, lane: Lane, rows: int) -> bool:
        """Whether it has no room only because each of its forks left part of a page empty."""
        if lane.journal.past.pieces or lane.pins or lane.watchers:
            return False
        whole = -(-(lane.view.length + lane.todo()) // PAGE)
        free = self._pool.free
        return lane.view.pages_needed(rows) > free and whole <= free + lane.view.alone

    def _victim(self, lane: Lane, *, by_rank: bool) -> Lane | None:
        """The lowest priority's youngest, idle ones before running ones; of those that run, only
        lower priorities', or `by_rank` also younger ones.
        """
        if self._idle is None:
            self._idle = self.roster.idle
        idle, runs = self._last(self._idle), self._last(self._running)
        if runs and not (runs.priority < lane.priority or (by_rank and runs.rank > lane.rank)):
            runs = None
        if idle and runs:
            return runs if runs.priority < idle.priority else idle
        return idle or runs

    def _last(self, lanes: list[Lane]) -> Lane | None:
        """The last in rank whose KV may be taken."""
        while lanes and (not lanes[-1].takable or lanes[-1].ident in self._placed):
            lanes.pop()
        return lanes[-1] if lanes else None


def _shared(lane: Lane) -> bool:
    """Whether others may have computed what is missing, or be about to want it: all but the steps
    of a decode. What was given may be one token, too.
    """
    return isinstance(lane.job, Prefill) or not lane.goes_on()
