"""Closes a run: its result, and the first and last events of its trace."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.context import Run
from ponder.orchestrator.expression import Expression
from ponder.orchestrator.inspecting.judging import tallies
from ponder.orchestrator.kept import FORMAT, candidate_data
from ponder.orchestrator.notation import to_yaml
from ponder.orchestrator.recount import status_of
from ponder.orchestrator.result import Attempt, Numbers, Result, Spending
from ponder.orchestrator.trace import Event, Trace
from ponder.runtime import InputError
from ponder.verifiers import answer_of


def summary(run: Run, strategy: Expression, budget: Budget) -> Result:
    """What the run came to, with its trace."""
    ledger, recorder, answer = run.meter.ledger, run.meter.recorder, run.answer
    events = recorder.events()
    attempts = tuple(
        Attempt(candidate=c, answer=answer_of(run.question, c)) for c in run.candidates()
    )
    policy, verifier = ledger.total("policy"), ledger.total("verifier")
    text, judging = answer.text if answer else None, tallies(events)
    numbers = Numbers(
        answer=text,
        confidence=answer.confidence if answer else None,
        status=status_of(events, text, judging),
        usage=Spending(policy=policy.usage, verifier=verifier.usage),
        calls=policy.calls + verifier.calls,
        seconds=recorder.last,
        judging=judging,
    )
    return Result(
        answer=numbers.answer,
        confidence=numbers.confidence,
        status=numbers.status,
        usage=numbers.usage,
        calls=numbers.calls,
        seconds=numbers.seconds,
        judging=numbers.judging,
        seed=run.seed,
        candidates=attempts,
        chosen=answer.chosen if answer else None,
        trace=Trace(events=(header(run, strategy, budget), *events, told(numbers, attempts))),
    )


def header(run: Run, strategy: Expression, budget: Budget) -> Event:
    """The first event of a trace: all that is needed to run again."""
    return {
        "event": "run",
        "format": FORMAT,
        "ponder": _version(),
        "question": asdict(run.question),
        "strategy": written(strategy),
        "seed": run.seed,
        "engines": {role: engine.name for role, engine in run.engines.items()},
        "budget": asdict(budget),
    }


def told(numbers: Numbers, attempts: tuple[Attempt, ...]) -> Event:
    """The last event of a trace."""
    return {
        "event": "result",
        **asdict(numbers),
        "status": numbers.status.value,
        "candidates": list(map(candidate_data, attempts)),
    }


@lru_cache
def _version() -> str:
    return version("ponder")


@lru_cache(maxsize=256)
def written(strategy: Expression) -> str:
    """A strategy as YAML; methods of the user's own have no name there, so then as Python."""
    try:
        return to_yaml(strategy)
    except InputError:
        return repr(strategy)
