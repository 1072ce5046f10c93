"""From a step's hidden states to what the jobs that wait for them get: draws, log-probabilities,
logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ponder.runtime.engine.jobs import Decode, Job, Read, ScorePart
from ponder.runtime.engine.lane import Lane, Share
from ponder.runtime.errors import InputError, ModelError
from ponder.runtime.kernels.arrays import floats
from ponder.runtime.runners.api import Runner
from ponder.runtime.runners.sampler import NOT_FINITE, Draw, log_normalisers
from ponder.runtime.seeds import uniform

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


class Outcome:
    """Runs steps and hands out what comes of them."""

    def __init__(self, runner: Runner, counts: Counts) -> None:
        self._runner = runner
        self._counts = counts

    def run(self, shares: Sequence[Share]) -> None:
        hidden = self._runner.hidden([share.work() for share in shares])
        self._counts.steps += 1
        waiting: list[_Row] = []
        for share in shares:
            for position in share.wanted:
                job, row = share.lane.job, len(waiting)
                if job is not None:
                    waiting.append(_Row(lane=share.lane, job=job, row=row, position=position))
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
            self._counts.decoded += 1

        if drawn.fault:
            job.end(_fault(drawn.fault, lane))
        else:
            job.commit(drawn.token, drawn.logprob, record)


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
