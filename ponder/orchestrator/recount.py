"""Recompute a run's numbers from its trace: the events are the truth, the result a summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ponder.orchestrator.calls import COUNTED
from ponder.orchestrator.inspecting.judging import Tally, tallies
from ponder.orchestrator.result import Numbers, Spending, Status
from ponder.orchestrator.trace import Event
from ponder.runtime import Finish, Usage


def recompute(events: Iterable[Event]) -> Numbers:
    """From every event but the result's own."""
    kept = [event for event in events if event["event"] != "result"]
    calls = [event for event in kept if event["event"] in ("call", "spent")]
    answers = [event for event in kept if event["event"] == "answer"]
    answer: Event = answers[-1] if answers else {"text": None, "confidence": None}
    judging = tallies(kept)
    return Numbers(
        answer=answer["text"],
        confidence=answer["confidence"],
        status=status_of(kept, answer["text"], judging),
        usage=Spending(policy=_used(calls, "policy"), verifier=_used(calls, "verifier")),
        calls=sum(e["calls"] if e["event"] == "spent" else e["kind"] in COUNTED for e in calls),
        seconds=max((event["at"] for event in kept if "at" in event), default=0.0),
        judging=judging,
    )


def status_of(events: Sequence[Event], answer: str | None, judging: Sequence[Tally]) -> Status:
    """The first that holds of: the budget cut something, nothing fits, nobody judged."""
    if any(map(exhausts, events)):
        return Status.EXHAUSTED
    missed = answer is None and any("farthest" in event for event in events)
    if missed:
        return Status.UNSATISFIED
    silent = any(tally.failures == tally.verdicts for tally in judging)
    return Status.UNJUDGED if silent else Status.COMPLETE


def exhausts(event: Event) -> bool:
    """Whether this event says that the budget cut something short."""
    return (
        event["event"] in ("refused", "cut")
        or event.get("finish") == Finish.BUDGET.value
        or event.get("error") == "BudgetExceeded"
    )


def _used(calls: Iterable[Event], purpose: str) -> Usage:
    return sum((Usage(**c["usage"]) for c in calls if c["purpose"] == purpose), Usage())
