"""Orders on candidates: the order they were asked for in, and from best to worst. Never the order
they finished in.
"""

from __future__ import annotations

from collections.abc import Iterable

from ponder.strategies.api import Item
from ponder.verifiers import Candidate


def candidates_in(items: Iterable[Item]) -> list[Candidate]:
    """The candidates among items that reached a Candidates port; the graph's check lets nothing
    else through.
    """
    return [item for item in items if isinstance(item, Candidate)]


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (c.source, c.index))


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Highest score first, of equal ones the highest weight; unjudged and failed ones last; ties in
    order.
    """
    return sorted(in_order(candidates), key=lambda c: (not has_score(c), -score_of(c), -c.weight))


def named(candidate: Candidate | None) -> tuple[str, int] | None:
    """(source, index), which name a candidate within a run."""
    return (candidate.source, candidate.index) if candidate else None


def has_score(candidate: Candidate) -> bool:
    return candidate.verdict is not None and candidate.verdict.score is not None


def score_of(candidate: Candidate) -> float:
    """Its score in [0, 1]; 0 where there is none, so that sums of scores count only what was
    judged.
    """
    verdict = candidate.verdict
    return verdict.score if verdict is not None and verdict.score is not None else 0.0
