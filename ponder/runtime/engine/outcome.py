"""From a step's hidden states to what the jobs that wait for them get: draws, and what is read of
states and logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ponder.runtime.engine.counts import Counts
from ponder.runtime.engine.jobs import Decode, Job, Showing
from ponder.runtime.engine.lane import Lane, Share
from ponder.runtime.engine.readings import Reading, StateReading
from ponder.runtime.errors import InputError, ModelError
from ponder.runtime.kernels.arrays import array_of, booleans
from ponder.runtime.runners.api import Runner, Work
from ponder.runtime.runners.confidence import confidences
from ponder.runtime.runners.sampler import NOT_FINITE, Draw, Rule
from ponder.runtime.seeds import uniform
from ponder.runtime.values import Finish

ROWS = 128
"""Rows whose logits are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A hidden state, and who waits for what comes of it."""

    lane: Lane
    job: Job
    row: int
    position: int


class Outcome:
    """Runs steps and hands out what comes of them."""

    def __init__(self, runner: Runner, counts: Counts) -> None:
        self._runner = runner
        self._counts = counts

    def run(self, shares: Sequence[Share]) -> None:
        works: list[Work] = []
        waiting: list[_Row] = []
        for share in shares:
            works.append(share.work())
            self._counts.run(share, len(share.wanted))
            for position in share.wanted:
                job, row = share.lane.job, len(waiting)
                if job is not None:
                    waiting.append(_Row(lane=share.lane, job=job, row=row, position=position))
        hidden = self._runner.hidden(works)
        self._counts.steps += 1
        states = [row for row in waiting if isinstance(row.job, StateReading)]
        if states:
            _read(_pick(hidden, states), states)
            waiting = [row for row in waiting if not isinstance(row.job, StateReading)]
        for start in range(0, len(waiting), ROWS):
            rows = waiting[start : start + ROWS]
            self._hand_out(self._runner.logits(_pick(hidden, rows)), rows)

    def _hand_out(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        decodes = [i for i, row in enumerate(rows) if isinstance(row.job, Decode)]
        readings = [i for i, row in enumerate(rows) if isinstance(row.job, Reading)]
        shown = [i for i, row in enumerate(rows) if isinstance(row.job, Showing)]
        for kind, take in ((decodes, self._sample), (readings, _read), (shown, _show)):
            if kind:
                some = logits if len(kind) == len(rows) else logits[torch.tensor(kind)]
                take(some, [rows[i] for i in kind])

    def _sample(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        jobs = [row.job for row in rows if isinstance(row.job, Decode)]
        rules = [_rule(job) for job in jobs]
        going = [i for i, rule in enumerate(rules) if rule is not None]
        if not going:
            return
        if len(going) < len(rows):
            logits = logits[torch.tensor(going)]
        points = [uniform(jobs[i].key, rows[i].position + 1) for i in going]
        draws = self._runner.draw(logits, [rule for rule in rules if rule is not None], points)
        told = confidences(logits, draws, [jobs[i].confidence for i in going])
        for i, drawn, confidence in zip(going, draws, told, strict=True):
            self._commit(rows[i].lane, jobs[i], drawn, confidence)

    def _commit(self, lane: Lane, job: Decode, drawn: Draw, confidence: float | None) -> None:
        def record() -> None:
            lane.tokens.append(drawn.token)
            self._counts.drew()

        if drawn.fault:
            job.end(_fault(drawn.fault, lane, job))
        else:
            job.commit(drawn.token, drawn.logprob, record, confidence)


def _rule(job: Decode) -> Rule | None:
    """How the next token is drawn; None where none can be, and the job is over."""
    if job.follower is None:
        return job.rule
    try:
        allowed = job.follower.allowed()
    except InputError as error:
        job.end(error)
        return None
    if not allowed.any():
        job.close(Finish.STOP)
        return None
    return replace(job.rule, allowed=allowed)


def _pick(hidden: Tensor, rows: Sequence[_Row]) -> Tensor:
    """The hidden states of some rows, in their order."""
    first, last = rows[0].row, rows[-1].row
    if last - first + 1 == len(rows):
        return hidden[first : last + 1]
    return hidden[torch.tensor([row.row for row in rows])]


def _read(values: Tensor, rows: Sequence[_Row]) -> None:
    finite = booleans(values.isfinite().all(dim=1))
    for i, row in enumerate(rows):
        if isinstance(row.job, Reading):
            row.job.accept(values[i], finite[i])


def _show(logits: Tensor, rows: Sequence[_Row]) -> None:
    """Each row to its own caller, who may keep it; the runner writes the next step's over these."""
    for values, row in zip(array_of(logits.float().cpu()), rows, strict=True):
        if not isinstance(row.job, Showing):
            continue
        if math.isfinite(values.max()) and math.isfinite(values.min()):  # NaN comes out of both
            row.job.show(values.copy())
        else:
            row.job.end(_not_finite(row.lane))


def _not_finite(lane: Lane) -> ModelError:
    return ModelError(f"{NOT_FINITE} after {len(lane.tokens)} tokens; its weights may be damaged")


def _fault(reason: str, lane: Lane, job: Decode) -> Exception:
    if reason == NOT_FINITE:
        return _not_finite(lane)
    if job.follower is not None:
        reason += ", of those that the grammar allows"
    return InputError(f"{reason}; leave one token allowed")
