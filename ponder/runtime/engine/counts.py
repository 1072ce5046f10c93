"""What each row that ran through the model was for, as `EngineStats` says.

A row counts as dropped until somebody takes what comes of it: a decode its draw, other calls all
they wanted, at their end. So the identity holds at any time, whatever is cancelled or fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.runtime.engine.jobs import Job, Prefill
from ponder.runtime.engine.lane import Share
from ponder.runtime.engine.readings import Reading


@dataclass(slots=True, kw_only=True)
class Counts:
    prefilled: int = 0
    cached: int = 0
    opened: int = 0
    decoded: int = 0
    scored: int = 0
    recomputed: int = 0
    dropped: int = 0
    computed: int = 0
    steps: int = 0

    def run(self, share: Share, wanted: int) -> None:
        """A share's rows ran; something is to be made of the last `wanted` of them."""
        job, silent = share.lane.job, share.rows - wanted
        self.computed += share.rows
        self.dropped += wanted
        if isinstance(job, Prefill):
            job.fed += silent
            self.dropped += silent
        else:
            self.recomputed += silent

    def drew(self) -> None:
        self.decoded += 1
        self.dropped -= 1

    def looked(self) -> None:
        """At a row, and nothing was picked."""
        self.scored += 1
        self.dropped -= 1

    def end(self, job: Job) -> None:
        """The job has all it wanted."""
        if isinstance(job, Reading):
            job.counted = True
            self.scored += job.taken
            self.dropped -= job.taken
        elif isinstance(job, Prefill):
            job.counted = True
            self._end_prefill(job)

    def _end_prefill(self, job: Prefill) -> None:
        # On the way to an edit's KV a source may be found whole.
        job.cached = max(job.cached, job.given - job.waits - job.fed)
        fresh = job.given - job.cached
        self.prefilled += fresh
        self.cached += job.cached
        self.opened += job.waits
        self.recomputed += job.fed - (fresh - job.waits)
        self.dropped -= job.fed
