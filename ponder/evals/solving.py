"""Where evals meet the orchestrator: a strategy on a runtime as a solver, and what of a run decides
its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from ponder.evals.directory import RunDirectory, Settings
from ponder.evals.grading import Attempt
from ponder.evals.records import Asked, Score
from ponder.evals.reports import Report
from ponder.evals.run import Progress, Solve, evaluate
from ponder.evals.sources import fingerprint
from ponder.evals.tasks import Example, Task
from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Runtime,
    Status,
    to_yaml,
    verdicts,
)
from ponder.verifiers import Question

DECIDING = ("ponder", "math-verify")
"""Packages whose version may change answers or grades."""


def solve_with(
    runtime: Runtime,
    strategy: Expression,
    *,
    task: Task,
    budget: Budget | None = None,
    out: RunDirectory | None = None,
) -> Solve:
    """A solver that runs the strategy; `check` the strategy first, so that what is wrong with it is
    not taken for a fault of every question.

    Args:
        runtime: whose engines answer.
        strategy: how.
        task: gives the instruction and the worked examples.
        budget: for each question.
        out: where traces go; None writes none.
    """

    async def solve(example: Example, seed: int) -> Attempt:
        result = await runtime.solve(
            Question(text=example.question, instruction=task.instruction, shots=task.shots),
            strategy,
            budget=budget,
            seed=seed,
            trace=out.trace(example.id) if out else None,
        )
        return attempt_of(result)

    return solve


def attempt_of(result: Result) -> Attempt:
    """What is graded of a result."""
    return Attempt(
        answer=result.answer,
        confidence=result.confidence,
        outcome="exhausted" if result.status is Status.EXHAUSTED else "complete",
        candidates=tuple(attempt.answer for attempt in result.candidates),
        usage=result.usage.total,
        scores=_scores(result),
        asked=tuple(
            Asked(verifier=t.verifier, verdicts=t.verdicts, failures=t.failures)
            for t in result.judging
        ),
    )


def _scores(result: Result) -> dict[int, tuple[Score, ...]]:
    candidates = (attempt.candidate for attempt in result.candidates)
    places = {(c.source, c.index): place for place, c in enumerate(candidates)}
    found: dict[int, tuple[Score, ...]] = {}
    for said in verdicts(result.trace):
        place = places.get((said.source, said.index))
        if place is not None:  # else nobody waited for that path of a search
            score = Score(verifier=said.verifier, score=said.score)
            found[place] = (*found.get(place, ()), score)
    return found


def run_settings(
    task: Task,
    examples: Sequence[Example],
    strategy: Expression,
    *,
    seed: int,
    model: str,
    budget: Budget | None = None,
) -> Settings:
    """What a `RunDirectory` asks to be the same on resuming."""
    return {
        "task": task.name,
        "strategy": to_yaml(strategy),
        "seed": seed,
        "model": model,
        "data": fingerprint(examples),
        "instruction": task.instruction,
        "shots": [asdict(shot) for shot in task.shots],
        "budget": asdict(budget or Budget()),
        "versions": deciding_versions(),
    }


def deciding_versions() -> dict[str, str | None]:
    return {name: _version(name) for name in DECIDING}


def _version(package: str) -> str | None:
    # Here, as it takes longer to import than all of this room.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def run_task(
    runtime: Runtime,
    task: Task,
    examples: Sequence[Example],
    strategy: Expression,
    *,
    label: str,
    seed: int,
    budget: Budget | None = None,
    out: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Evaluate a strategy on a task: as many questions under way as the runtime has places.

    Args:
        runtime: whose engines answer.
        task: gives the instruction.
        examples: see `load_examples`.
        strategy: how.
        label: what the report calls the strategy.
        seed: of the run.
        budget: for each question.
        out: directory that keeps records and traces, and resumes; None keeps nothing.
        on_progress: called after each record.

    Raises:
        InputError: the strategy cannot run on these engines, or `out` cannot be used.
        ModelError: the engine failed; what finished before is recorded.
    """
    runtime.plan(strategy)
    settings = run_settings(
        task, examples, strategy, seed=seed, model=str(runtime.models), budget=budget
    )
    with ExitStack() as held:
        directory = held.enter_context(RunDirectory(out, settings)) if out else None
        return await evaluate(
            task,
            examples,
            solve_with(runtime, strategy, task=task, budget=budget, out=directory),
            equivalence=runtime.equivalence,
            strategy=label,
            seed=seed,
            out=directory,
            concurrency=runtime.concurrency,
            on_progress=on_progress,
        )
