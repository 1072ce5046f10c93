"""Runs a task's examples through a solver, a bounded number at once, in their order, and records
each as it finishes.

Knows no strategy and no engine: `solve` is its one dependency. An example that cannot be asked is
recorded as failed and counts as wrong; anything else that goes wrong ends the run, with all that
finished on the disk and all that was under way cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from ponder.evals.directory import RunDirectory
from ponder.evals.grading import Attempt, Grade, grade, writable
from ponder.evals.records import Record
from ponder.evals.reports import Report, report
from ponder.evals.tasks import Example, Task
from ponder.runtime import BranchPath, CapabilityError, InputError, NotRecorded, Usage
from ponder.verifiers import Equivalence

Solve = Callable[[Example, int], Awaitable[Attempt]]
"""Asks one example with a seed. An `InputError` other than a `CapabilityError` is about that
question alone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is, after each record."""

    record: Record
    done: int
    """Recorded, earlier sessions included."""
    total: int


def example_seed(seed: int, example: str) -> int:
    """An example's own seed: a function of the run's seed and its id, not of its place. 53 bits,
    which every reader of JSON keeps.
    """
    low, high = BranchPath(seed, ("example", example)).key()
    return low | (high & 0x1FFFFF) << 32


async def evaluate(
    task: Task,
    examples: Sequence[Example],
    solve: Solve,
    *,
    equivalence: Equivalence,
    strategy: str,
    seed: int,
    out: RunDirectory | None = None,
    concurrency: int = 8,
    on_progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Ask and grade every example that `out` does not hold yet, and report on all.

    Args:
        task: named in the report.
        examples: with distinct ids; they start in this order.
        solve: asks one example.
        equivalence: says whether an answer means the same as the reference.
        strategy: named in the report.
        seed: of the run.
        out: entered already; None keeps records in memory only.
        concurrency: examples under way at once.
        on_progress: called after each record.
        clock: seconds.

    Raises:
        InputError: the arguments do not fit each other, or a record could not be saved.
        ModelError: the engine failed; what finished before is recorded.
    """
    kept = list(out.records) if out else []
    _check(examples, kept, concurrency)
    session = _Session(
        solve=solve,
        equivalence=equivalence,
        seed=seed,
        out=out,
        kept=kept,
        total=len(examples),
        on_progress=on_progress,
        clock=clock,
        number=max((record.session for record in kept), default=-1) + 1,
        start=clock(),
    )
    known = {record.id for record in kept}
    await session.run((e for e in examples if e.id not in known), concurrency)
    return report(kept, task=task.name, strategy=strategy, total=len(examples))


def _check(examples: Sequence[Example], kept: Sequence[Record], concurrency: int) -> None:
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency!r}; it must be at least 1")
    ids = {example.id for example in examples}
    if len(ids) < len(examples):
        raise InputError(f"{len(examples)} examples have only {len(ids)} different ids")
    strange = [record.id for record in kept if record.id not in ids]
    if strange:
        raise InputError(
            f"the run directory holds {strange[0]!r}, which is none of the {len(ids)} examples; "
            "give another --out"
        )


@dataclass(slots=True, kw_only=True, eq=False)
class _Session:
    """One start of a run."""

    solve: Solve
    equivalence: Equivalence
    seed: int
    out: RunDirectory | None
    kept: list[Record]
    total: int
    on_progress: Callable[[Progress], None] | None
    clock: Callable[[], float]
    number: int
    start: float

    async def run(self, waiting: Iterator[Example], concurrency: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(waiting))
        except ExceptionGroup as errors:
            # The first ended the run; the others are what ending it led to.
            first = _first(errors)
            raise first from first.__cause__

    async def _work(self, waiting: Iterator[Example]) -> None:
        for example in waiting:
            self._keep(await self._ask(example))

    async def _ask(self, example: Example) -> Record:
        seed, start = example_seed(self.seed, example.id), self.clock()
        try:
            attempt = await self.solve(example, seed)
        except NotRecorded as error:
            raise NotRecorded(f"question {example.id!r}: {error}") from error
        except CapabilityError:
            raise
        except InputError as error:
            return self._record(example, seed, start, reason=str(error))
        verdict = await grade(example.answer, attempt, self.equivalence)
        return self._record(example, seed, start, attempt=attempt, verdict=verdict)

    def _record(
        self,
        example: Example,
        seed: int,
        start: float,
        *,
        attempt: Attempt | None = None,
        verdict: Grade | None = None,
        reason: str = "",
    ) -> Record:
        now = self.clock()
        return Record(
            id=example.id,
            reference=example.answer,
            answer=writable(attempt.answer) if attempt else None,
            correct=bool(verdict and verdict.correct),
            outcome=attempt.outcome if attempt else "failed",
            reason=reason,
            confidence=attempt.confidence if attempt else None,
            candidates=verdict.votes if verdict else (),
            usage=attempt.usage if attempt else Usage(),
            seed=seed,
            seconds=now - start,
            session=self.number,
            finished=now - self.start,
            asked=attempt.asked if attempt else (),
        )

    def _keep(self, record: Record) -> None:
        # No await in here: a record is on the disk and counted, or neither.
        if self.out:
            self.out.append(record)
        self.kept.append(record)
        if self.on_progress:
            self.on_progress(Progress(record=record, done=len(self.kept), total=self.total))


def _first(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error
