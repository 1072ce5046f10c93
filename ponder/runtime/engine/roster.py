"""Who has a job, who has pages, and in which order they come: what a step looks at is found without
a look at everybody.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from ponder.runtime.engine.jobs import Job
from ponder.runtime.engine.lane import Lane


def by_rank(lanes: Iterable[Lane]) -> list[Lane]:
    return sorted(lanes, key=_rank)


class Roster:
    """Lanes by job and pages; `note` is to be called when either changed."""

    def __init__(self) -> None:
        self._running: dict[int, Lane] = {}
        self._idle: dict[int, Lane] = {}
        self._waiting: list[Lane] = []
        self._inside: set[int] = set()

    def __len__(self) -> int:
        """Lanes with a job."""
        return len(self._running) + len(self._waiting)

    @property
    def running(self) -> list[Lane]:
        """Those with a job and pages, by rank."""
        return by_rank(self._running.values())

    @property
    def jobs(self) -> Iterator[Job]:
        lanes = chain(self._running.values(), self._waiting)
        return (lane.job for lane in lanes if lane.job is not None)

    @property
    def idle(self) -> list[Lane]:
        """Those with pages alone, by rank."""
        return by_rank(self._idle.values())

    @property
    def waiting(self) -> Sequence[Lane]:
        """Those with a job alone, by rank."""
        return self._waiting

    def note(self, lane: Lane) -> None:
        job, held = lane.job is not None, lane.held
        _put(self._running, lane, job and held)
        _put(self._idle, lane, held and not job)
        self._wait(lane, job and not held)

    def drop(self, lane: Lane) -> None:
        _put(self._running, lane, False)
        _put(self._idle, lane, False)
        self._wait(lane, False)

    def _wait(self, lane: Lane, waits: bool) -> None:
        if waits == (lane.ident in self._inside):
            return
        if waits:
            self._inside.add(lane.ident)
            insort(self._waiting, lane, key=_rank)
        else:
            self._inside.remove(lane.ident)
            del self._waiting[bisect_left(self._waiting, lane.rank, key=_rank)]


def _put(where: dict[int, Lane], lane: Lane, belongs: bool) -> None:
    if belongs:
        where[lane.ident] = lane
    else:
        where.pop(lane.ident, None)


def _rank(lane: Lane) -> tuple[int, int]:
    return lane.rank
