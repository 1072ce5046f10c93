"""Who computes what in the next step: continuous batching under one token budget.

Decodes, prefill chunks and scoring share a step, by priority (higher first), then arrival. When
pages run out, the prefix tree gives back what only it holds; then the lowest priority's youngest
branch loses its KV, to be recomputed from its tokens. The first in rank can take everything, so
work never deadlocks; who does not fit even then is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ponder.runtime.engine.jobs import Job, Prefill
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.radix import RadixTree
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import PAGE


@dataclass(slots=True, kw_only=True, eq=False)
class Lane:
    """A branch as the engine's thread sees it. `tokens` is the truth; the view covers a prefix."""

    ident: int
    tokens: list[int]
    view: View
    priority: int
    arrival: int
    salt: str = ""
    """KV is shared only among lanes of one salt: an adapter's is nobody else's."""
    reached: int = 0
    """Tokens before this one had KV once; computing them again is no news."""
    job: Job | None = None

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.priority, self.arrival)

    def todo(self) -> int:
        """Tokens to compute before its job can go on."""
        if self.job is None:
            return 0
        return self.job.target(len(self.tokens)) - self.view.length

    def goes_on(self) -> bool:
        """Whether one token is missing to what is there, as in every step of a decode."""
        return self.view.length > 0 and self.todo() == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A lane's part of a step: its view was grown by `rows`, whose KV is to be computed."""

    lane: Lane
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    shares: Sequence[Share]
    refused: Sequence[Lane]
    """Lanes that do not fit into the pool alone."""


class Scheduler:
    """Plans steps; moves pages, computes nothing."""

    def __init__(self, pool: PagePool, tree: RadixTree, step_tokens: int) -> None:
        self._pool = pool
        self._tree = tree
        self._step_tokens = step_tokens
        self._lanes: Collection[Lane] = ()
        self._placed: set[int] = set()
        self._pressed = False
        self.preempted = 0
        self.cached = 0
        """Given tokens whose KV was found."""

    def schedule(self, running: Iterable[Lane], lanes: Collection[Lane]) -> Schedule:
        """Share out one step among the lanes that have jobs; of all `lanes`, some may have to give
        up their pages.
        """
        self._lanes = lanes
        self._placed, self._pressed = set(), False
        waiting = sorted(running, key=lambda lane: lane.rank)
        budget = self._budget(waiting)
        shares: list[Share] = []
        refused: list[Lane] = []
        for lane in waiting:
            decode = lane.goes_on()
            rows = self._place(lane, budget[decode], first=not shares)
            budget[decode] -= rows
            if rows or not lane.todo():
                shares.append(Share(lane=lane, rows=rows))
            elif not shares and budget[decode]:
                refused.append(lane)
        return Schedule(shares=shares, refused=refused)

    def preempt(self, lane: Lane) -> None:
        """Take a lane's KV; its tokens stay."""
        lane.view.release()
        self.preempted += 1

    def _budget(self, waiting: Sequence[Lane]) -> dict[bool, int]:
        """Rows for decodes (True), and for chunks (False): what is left, but at least an eighth."""
        decodes = sum(lane.goes_on() for lane in waiting)
        chunks = max(self._step_tokens - decodes, self._step_tokens // 8)
        return {True: self._step_tokens, False: chunks}

    def _reuse(self, lane: Lane) -> None:
        """Take over KV that appeared in the tree, written in this very step perhaps."""
        job = lane.job
        if job is None or not lane.todo():
            return
        total = len(lane.tokens)
        known = min(job.target(total), job.wanted(total))
        spans = self._tree.match(lane.tokens[:known], salt=lane.salt)
        if sum(span.length for span in spans) > lane.view.length:
            fresh = View(self._pool, spans)
            lane.view.release()
            lane.view = fresh
            found = max(0, fresh.length - lane.reached)
            lane.reached += found
            if isinstance(job, Prefill):
                job.cached += found
                self.cached += found

    def _place(self, lane: Lane, budget: int, *, first: bool) -> int:
        """Grow the lane's view by what it computes in this step; returns by how much.

        Only the first in rank and those that just go on take pages from others that run. The rest
        wait until there is room for all they need: let in too early, they would be thrown out.
        """
        goes_on = lane.goes_on()
        if not goes_on:
            self._reuse(lane)
        todo = lane.todo()
        rows = min(todo, budget)
        if not rows:
            return 0
        if first or goes_on:
            self._make_room(lane, rows, by_rank=True)
            if first and lane.view.pages_needed(rows) > self._pool.free:
                self._tree.evict(self._pool.total, all_leaves=True)
            if first and self._in_pieces(lane, rows):
                self.preempt(lane)
                rows = min(lane.todo(), budget)
        elif self._pressed or not self._make_room(lane, todo, by_rank=False):
            self._pressed = True
            self._tree.insert(lane.tokens[: lane.view.length], lane.view.spans, salt=lane.salt)
            lane.view.release()
            return 0
        return self._grow(lane, min(rows, lane.view.fits()))

    def _grow(self, lane: Lane, rows: int) -> int:
        job, chunk = lane.job, not lane.goes_on()
        if rows and job is not None:
            lane.view.grow(rows)
            self._placed.add(lane.ident)
            if chunk:
                # Others find at once what this step will have written: writes precede reads.
                known = min(lane.view.length, job.wanted(len(lane.tokens)))
                self._tree.insert(lane.tokens[:known], lane.view.spans, salt=lane.salt)
        return rows

    def _make_room(self, lane: Lane, rows: int, *, by_rank: bool) -> bool:
        while (missing := lane.view.pages_needed(rows) - self._pool.free) > 0:
            if self._tree.evict(missing):
                continue
            victim = self._victim(lane, by_rank=by_rank)
            if victim is None:
                return False
            self._pressed |= victim.job is not None
            self.preempt(victim)
        return True

    def _in_pieces(self, lane: Lane, rows: int) -> bool:
        """Whether it has no room only because each of its forks left part of a page empty."""
        whole = -(-(lane.view.length + lane.todo()) // PAGE)
        return lane.view.pages_needed(rows) > self._pool.free and whole <= self._pool.total

    def _victim(self, lane: Lane, *, by_rank: bool) -> Lane | None:
        """The lowest priority's youngest, idle ones before running ones; of those that run, only
        lower priorities', or `by_rank` also younger ones.
        """
        candidates = [
            other
            for other in self._lanes
            if other is not lane
            and other.view.length
            and other.ident not in self._placed
            and (
                other.job is None
                or other.priority < lane.priority
                or (by_rank and other.rank > lane.rank)
            )
        ]
        return max(candidates, key=lambda o: (-o.priority, o.job is None, o.arrival), default=None)
