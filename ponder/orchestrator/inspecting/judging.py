"""What verifiers said in a run: of each candidate, and how often they failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ponder.orchestrator.trace import Event, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict on one candidate: a score or a failure."""

    source: str
    index: int
    verifier: str
    """Its name; "NAME (steps)" where it steered a search."""
    score: float | None
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much a verifier was asked."""

    verifier: str
    """As in `Judged`; "universal" where a model picked among all candidates."""
    verdicts: int
    """Of candidates; of a search, of its steps; picks."""
    failures: int
    """Of `verdicts`: a failure was stated, for want of budget too."""


def verdicts(trace: Trace) -> list[Judged]:
    """The newest of each verifier on each candidate. A path that a search gave has its value."""
    newest = {(j.source, j.index, j.verifier): j for j in _verdicts(trace)}
    return list(newest.values())


def tallies(events: Sequence[Event]) -> tuple[Tally, ...]:
    """By verifier, in the order in which they were asked."""
    steps = {e["node"]: _steering(e) for e in events if e["event"] == "paths"}
    found: dict[str, list[bool]] = {}
    for event in events:
        by = _asked(event, steps)
        if by is not None:
            found.setdefault(by, []).append(event["failure"] is not None)
    return tuple(
        Tally(verifier=name, verdicts=len(failed), failures=sum(failed))
        for name, failed in found.items()
    )


def _asked(event: Event, steps: Mapping[str, str]) -> str | None:
    """Who gave this verdict; None where it is none."""
    kind = event["event"]
    if kind == "universal":
        return kind if event["picked"] is not None or event["failure"] is not None else None
    by = event["verifier"] if kind == "verdict" else None
    if kind == "node":
        by = steps.get(event["node"])
    return by if by is not None and _judged(event) else None


def _steering(paths: Event) -> str:
    # Step verifiers and verifiers of candidates share names.
    return f"{paths['verifier']} (steps)"


def _judged(event: Event) -> bool:
    return event["score"] is not None or event["failure"] is not None


def _verdicts(trace: Trace) -> Iterator[Judged]:
    steps: dict[tuple[str, tuple[int, ...]], Event] = {}
    for event in trace.events:
        if event["event"] == "node":
            steps[event["node"], tuple(event["place"])] = event
        elif event["event"] == "paths":
            for index, place in enumerate(event["places"]):
                yield _of_path(event, index, steps.get((event["node"], tuple(place))))
        elif event["event"] == "verdict":
            yield Judged(
                source=event["source"],
                index=event["index"],
                verifier=event["verifier"],
                score=event["score"],
                failure=event["failure"],
            )


def _of_path(paths: Event, index: int, last: Event | None) -> Judged:
    score = last["value"] if last is not None else None
    failure = last["failure"] if last is not None else None
    return Judged(
        source=paths["node"],
        index=index,
        verifier=_steering(paths),
        score=score,
        failure=None if score is not None else failure or "its last step was not judged",
    )
