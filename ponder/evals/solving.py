"""Where evals meet the orchestrator: a strategy on a runtime as a solver, and what of a run decides
its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ponder.evals.directory import RunDirectory, Settings
from ponder.evals.grading import Attempt
from ponder.evals.run import Solve
from ponder.evals.sources import fingerprint
from ponder.evals.tasks import Example, Task
from ponder.orchestrator import Budget, Expression, Runtime, Status, to_yaml
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
        task: gives the instruction.
        budget: for each question.
        out: where traces go; None writes none.
    """

    async def solve(example: Example, seed: int) -> Attempt:
        result = await runtime.solve(
            Question(text=example.question, instruction=task.instruction),
            strategy,
            budget=budget,
            seed=seed,
            trace=out.trace(example.id) if out else None,
        )
        return Attempt(
            answer=result.answer,
            confidence=result.confidence,
            outcome="exhausted" if result.status is Status.EXHAUSTED else "complete",
            candidates=tuple(attempt.answer for attempt in result.candidates),
            usage=result.usage.total,
        )

    return solve


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
        "budget": asdict(budget or Budget()),
        "versions": {name: _version(name) for name in DECIDING},
    }


def _version(package: str) -> str | None:
    # Here, as it takes longer to import than all of this room.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
