"""How far each verifier of a run can be trusted, from the run's records: how often it failed, how
well its scores tell right from wrong, and whether choosing by it goes wrong as there is more to
choose from (over-optimisation, or reward hacking: the chosen score rises and accuracy falls).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import NormalDist, fmean, stdev

from ponder.evals.records import Record
from ponder.evals.selection import Choice, Selected, auc, best_of, brier
from ponder.evals.statistics import Estimate

ENOUGH = 10
"""Questions below which a fall of accuracy is not told from chance."""
_LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """More candidates made the choice worse, beyond chance."""

    best: int
    """Of so many candidates the choice was best."""
    most: int
    """Of so many it was measured last."""
    accuracy: float
    """By how much it is lower there; above 0."""
    score: float
    """By how much the chosen score is higher there; above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One verifier in one run."""

    verifier: str
    verdicts: int
    """Of candidates; of a search, of its steps."""
    failures: int
    """Of `verdicts`."""
    candidates: int
    """Judged, whether or not they got a score."""
    scored: int
    """Of `candidates`."""
    correct: int
    """Of `scored`."""
    questions: int
    """With a judged candidate: the denominator of the curves."""
    auc: Estimate
    brier: Estimate
    accuracy: Mapping[int, Estimate]
    """Of the best of k by its scores, by k, powers of two."""
    score: Mapping[int, Estimate]
    """Expected, of that best one."""
    decline: Decline | None

    @property
    def failure_rate(self) -> float | None:
        return self.failures / self.verdicts if self.verdicts else None

    def as_dict(self) -> dict[str, object]:
        """JSON values."""
        reasons = {"auc": self.auc.reason, "brier": self.brier.reason}
        reasons |= {f"best of {k}": e.reason for k, e in self.accuracy.items()}
        falls = self.decline
        return {
            "verdicts": self.verdicts,
            "failures": self.failures,
            "failure_rate": self.failure_rate,
            "candidates": self.candidates,
            "scored": self.scored,
            "correct": self.correct,
            "questions": self.questions,
            "auc": self.auc.value,
            "brier": self.brier.value,
            "best_of": {
                str(k): {"accuracy": e.value, "score": self.score[k].value}
                for k, e in self.accuracy.items()
            },
            "decline": None
            if falls is None
            else {
                "best": falls.best,
                "most": falls.most,
                "accuracy": falls.accuracy,
                "score": falls.score,
            },
            "undefined": [f"{name}: {reason}" for name, reason in reasons.items() if reason],
        }


def health(records: Sequence[Record]) -> tuple[Health, ...]:
    """Of every verifier that the records know, by name; the order of records does not matter."""
    names = {asked.verifier for record in records for asked in record.asked}
    return tuple(_health(name, records) for name in sorted(names))


def _health(name: str, records: Sequence[Record]) -> Health:
    asked = [a for record in records for a in record.asked if a.verifier == name]
    pools = [pool for record in records if (pool := _pool(name, record))]
    everyone = [choice for pool in pools for choice in pool]
    curves = _curves(pools)
    return Health(
        verifier=name,
        verdicts=sum(a.verdicts for a in asked),
        failures=sum(a.failures for a in asked),
        candidates=len(everyone),
        scored=sum(c.score is not None for c in everyone),
        correct=sum(c.correct for c in everyone if c.score is not None),
        questions=len(pools),
        auc=auc(everyone),
        brier=brier(everyone),
        accuracy={k: _accuracy(found, k, pools) for k, found in curves.items()},
        score={k: _score(found, k, pools) for k, found in curves.items()},
        decline=_decline({k: found for k, found in curves.items() if found}),
    )


def _pool(name: str, record: Record) -> list[Choice]:
    return [
        Choice(answered=vote.answer is not None, score=said.score, correct=vote.correct)
        for vote in record.candidates
        for said in vote.scores
        if said.verifier == name
    ]


def _curves(pools: Sequence[Sequence[Choice]]) -> dict[int, list[Selected]]:
    """By k, one a question; empty where a question has fewer than k."""
    most, least = (f(map(len, pools), default=0) for f in (max, min))
    if most < 2:
        return {}
    sizes = [2**i for i in range(most.bit_length())]
    return {k: [best_of(k, pool) for pool in pools] if k <= least else [] for k in sizes}


def _accuracy(found: Sequence[Selected], k: int, pools: Sequence[Sequence[Choice]]) -> Estimate:
    if not found:
        return _short(k, pools)
    return Estimate(value=fsum(s.accuracy for s in found) / len(found))


def _score(found: Sequence[Selected], k: int, pools: Sequence[Sequence[Choice]]) -> Estimate:
    if not found:
        return _short(k, pools)
    scores = [s.score for s in found if s.score is not None]
    return Estimate(value=fmean(scores)) if scores else Estimate(reason="no candidate has a score")


def _short(k: int, pools: Sequence[Sequence[Choice]]) -> Estimate:
    short = sum(len(pool) < k for pool in pools)
    return Estimate(reason=f"{short} of {len(pools)} questions have fewer candidates")


def _decline(curves: Mapping[int, Sequence[Selected]]) -> Decline | None:
    """From the best k to the largest, if accuracy falls by more than chance explains: a one-sided
    test at 5 % of paired differences over questions, shared among all the k that might have been
    the best (Bonferroni).
    """
    if len(curves) < 2:
        return None
    most = max(curves)
    best = max(curves, key=lambda k: (fmean(s.accuracy for s in curves[k]), -k))
    questions = list(zip(curves[best], curves[most], strict=True))
    if best == most or len(questions) < ENOUGH:
        return None
    falls = [early.accuracy - late.accuracy for early, late in questions]
    rises = [
        late.score - early.score
        for early, late in questions
        if early.score is not None and late.score is not None
    ]
    strict = NormalDist().inv_cdf(1 - _LEVEL / (len(curves) - 1))
    chance = strict * stdev(falls) / sqrt(len(falls))
    fall, rise = fmean(falls), fmean(rises) if rises else 0.0
    if fall <= chance or rise <= 0:
        return None
    return Decline(best=best, most=most, accuracy=fall, score=rise)
