"""What a run comes to, computed from its records alone: a resumed run reports what an unbroken one
does, but for times.

Every count has its denominator: failed and unanswered examples stay in `n`, as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

from ponder.evals.health import Health, health
from ponder.evals.records import Record
from ponder.evals.statistics import Estimate, Interval, Sample, majority_at, pass_at, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Accuracy, its interval, and what it cost."""

    task: str
    strategy: str
    status: Literal["complete", "interrupted"]
    n: int
    """Examples recorded; the denominator of the accuracy."""
    total: int
    """Examples asked for."""
    correct: int
    accuracy: float | None
    """None when nothing is recorded."""
    interval: Interval | None
    """Wilson, 95 %."""
    exhausted: int
    """Of `n`: the budget ended before the strategy did."""
    failed: int
    """Of `n`: could not be asked at all."""
    unanswered: int
    """Of `n`: asked, and no answer came."""
    tokens: int
    """As `Usage.tokens` counts them: given, decoded and scored."""
    decoded: int
    cached: int
    """Given tokens whose KV was found."""
    seconds: float
    """Of every session, from its start to its last record; what a killed session did after that is
    asked again and counted then.
    """
    pass_at: dict[int, Estimate]
    """By k, powers of two; empty where a question gets one candidate."""
    maj_at: dict[int, Estimate]
    verifiers: tuple[Health, ...]
    """By name."""

    @property
    def tokens_mean(self) -> float | None:
        """For one example."""
        return self.tokens / self.n if self.n else None

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.seconds else None

    def as_dict(self) -> dict[str, object]:
        """JSON values."""
        undefined = [
            f"{name}@{k}: {estimate.reason}"
            for name, curve in (("pass", self.pass_at), ("maj", self.maj_at))
            for k, estimate in curve.items()
            if estimate.value is None
        ]
        return {
            "task": self.task,
            "strategy": self.strategy,
            "status": self.status,
            "n": self.n,
            "total": self.total,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "interval": [self.interval.low, self.interval.high] if self.interval else None,
            "exhausted": self.exhausted,
            "failed": self.failed,
            "unanswered": self.unanswered,
            "tokens": self.tokens,
            "tokens_mean": self.tokens_mean,
            "decoded": self.decoded,
            "cached": self.cached,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "pass_at": {str(k): e.value for k, e in self.pass_at.items()},
            "maj_at": {str(k): e.value for k, e in self.maj_at.items()},
            "undefined": undefined,
            "verifiers": {health.verifier: health.as_dict() for health in self.verifiers},
        }


def report(records: Sequence[Record], *, task: str, strategy: str, total: int) -> Report:
    """The report of `records`, out of `total` that were asked for; their order does not matter."""
    n, correct = len(records), sum(r.correct for r in records)
    return Report(
        task=task,
        strategy=strategy,
        status="complete" if n == total else "interrupted",
        n=n,
        total=total,
        correct=correct,
        accuracy=correct / n if n else None,
        interval=wilson(correct, n) if n else None,
        exhausted=sum(r.outcome == "exhausted" for r in records),
        failed=sum(r.outcome == "failed" for r in records),
        unanswered=sum(r.answer is None and r.outcome != "failed" for r in records),
        tokens=sum(r.usage.tokens for r in records),
        decoded=sum(r.usage.decoded for r in records),
        cached=sum(r.usage.cached for r in records),
        seconds=_seconds(records),
        pass_at=_curve(records, _pass_at),
        maj_at=_curve(records, _majority_at),
        verifiers=health(records),
    )


def _seconds(records: Sequence[Record]) -> float:
    last: dict[int, float] = {}
    for record in records:
        last[record.session] = max(last.get(record.session, 0.0), record.finished)
    return fsum(last.values())


def _curve(records: Sequence[Record], score: Callable[[int, Record], float]) -> dict[int, Estimate]:
    most = max((len(r.candidates) for r in records), default=0)
    if most < 2:
        return {}
    return {k: _mean(records, k, score) for k in (2**i for i in range(most.bit_length()))}


def _mean(records: Sequence[Record], k: int, score: Callable[[int, Record], float]) -> Estimate:
    short = sum(len(r.candidates) < k and r.outcome != "failed" for r in records)
    if short:
        return Estimate(reason=f"{short} of {len(records)} examples have fewer candidates")
    scores = [0.0 if r.outcome == "failed" else score(k, r) for r in records]
    return Estimate(value=fsum(scores) / len(scores))


def _pass_at(k: int, record: Record) -> float:
    return pass_at(k, len(record.candidates), sum(v.correct for v in record.candidates))


def _majority_at(k: int, record: Record) -> float:
    return majority_at(k, [Sample(group=v.group, correct=v.correct) for v in record.candidates])
