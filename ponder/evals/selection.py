"""How well scores tell right candidates from wrong ones, and what choosing by them would give: AUC,
Brier, and the best of k by exact sub-sampling (dossier S 10.3).

Plain functions of scores and grades; no draws. What is undefined is an `Estimate` with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb, fsum

from ponder.evals.statistics import Estimate
from ponder.runtime import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the candidates for one question, reduced to what choosing sees."""

    answered: bool
    """It has a final answer; one without loses to any that has, as in `best()`."""
    score: float | None
    """In [0, 1]; None where the verifier failed, which loses to any score."""
    correct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What the best of k comes to, over all ways to draw them."""

    accuracy: float
    """Probability that it is correct."""
    score: float | None
    """Expected score where it has one; None where no candidate has."""


def best_of(k: int, pool: Sequence[Choice]) -> Selected:
    """The best of k of the pool, drawn without replacement.

    The candidate of rank j (1 is the best of n) is chosen with probability C(n - j, k - 1) /
    C(n, k); ties share what their ranks have together.

    Raises:
        InputError: k is not 1 to n.
    """
    n = len(pool)
    if not 1 <= k <= n:
        raise InputError(f"k is {k!r}; it must be 1 to the {n} candidates there are")
    right: list[float] = []
    scores: list[float] = []
    scored: list[float] = []
    before = 0
    for _, tied in groupby(sorted(pool, key=_rank), key=_rank):
        members = list(tied)
        # The sum over ranks before + 1 to before + len(members), telescoped.
        ways = comb(n - before, k) - comb(n - before - len(members), k)
        before += len(members)
        share = ways / comb(n, k)
        right.append(share * sum(c.correct for c in members) / len(members))
        score = members[0].score
        if score is not None:
            scores.append(share * score)
            scored.append(share)
    reached = fsum(scored)
    return Selected(accuracy=fsum(right), score=fsum(scores) / reached if reached else None)


def _rank(choice: Choice) -> tuple[bool, bool, float]:
    """Best first."""
    return not choice.answered, choice.score is None, -(choice.score or 0.0)


def auc(pool: Sequence[Choice]) -> Estimate:
    """Probability that a right candidate has a higher score than a wrong one; ties count half
    (Mann and Whitney 1947). Candidates without a score are left out.
    """
    scored = sorted((c.score, c.correct) for c in pool if c.score is not None)
    right = sum(correct for _, correct in scored)
    wrong = len(scored) - right
    if not scored:
        return Estimate(reason="no candidate has a score")
    if not right or not wrong:
        return Estimate(reason=f"all {len(scored)} candidates are {'right' if right else 'wrong'}")
    below = won = 0  # twice the pairs won, so that halves stay whole
    for _, tied in groupby(scored, key=lambda pair: pair[0]):
        grades = [correct for _, correct in tied]
        good = sum(grades)
        bad = len(grades) - good
        won += good * (2 * below + bad)
        below += bad
    return Estimate(value=won / (2 * right * wrong))


def brier(pool: Sequence[Choice]) -> Estimate:
    """Mean square of score minus correctness (Brier 1950): 0 is certain and right, 0.25 is what a
    score of one half gets. Candidates without a score are left out.
    """
    squares = [(c.score - c.correct) ** 2 for c in pool if c.score is not None]
    if not squares:
        return Estimate(reason="no candidate has a score")
    return Estimate(value=fsum(squares) / len(squares))
