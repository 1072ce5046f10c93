"""Reports as tables for people."""

from __future__ import annotations

from ponder.evals.health import Health
from ponder.evals.reports import Report
from ponder.evals.statistics import Estimate


def report_table(report: Report) -> str:
    """A line a figure, every share with its denominator."""
    rate = report.tokens_per_second
    rows = [
        ("task", f"{report.task}: {report.status}, {report.n} of {report.total} questions"),
        ("strategy", report.strategy),
        ("accuracy", accuracy(report)),
        ("tokens", f"{report.tokens:,}, {report.decoded:,} of them drawn"),
        ("seconds", f"{report.seconds:.1f}" + (f", {rate:,.0f} tokens/s" if rate else "")),
        ("cut short", f"{report.exhausted} by the budget; {report.failed} could not be asked"),
        ("unanswered", str(report.unanswered)),
    ]
    for name, curve in (("pass@k", report.pass_at), ("maj@k", report.maj_at)):
        known = [f"{k}: {e.value:.1%}" for k, e in curve.items() if e.value is not None]
        rows += [(name, "  ".join(known))] if known else []
    rows += [row for health in report.verifiers for row in _health_rows(health)]
    return "\n".join(f"{name:<10}  {text}" for name, text in rows)


def _health_rows(health: Health) -> list[tuple[str, str]]:
    rate = f" = {health.failure_rate:.1%}" if health.failure_rate is not None else ""
    rows = [
        ("verifier", health.verifier),
        ("  failed", f"{health.failures} of {health.verdicts} verdicts{rate}"),
        ("  AUC", f"{_figure(health.auc)} ({health.correct} right of {health.scored} scored)"),
        ("  Brier", _figure(health.brier)),
    ]
    curve = [
        f"{k}: {e.value:.1%} ({_figure(health.score[k])})"
        for k, e in health.accuracy.items()
        if e.value is not None
    ]
    told = f"accuracy (chosen score) by k: {'  '.join(curve)}"
    rows += [("  best of", told)] if curve else []
    falls = health.decline
    if falls is not None:
        warning = (
            f"best of {falls.most} is {falls.accuracy:.1%} worse than best of {falls.best}, and "
            f"its score {falls.score:.3f} higher: choosing by this verifier is overdone"
        )
        rows.append(("  warning", warning))
    return rows


def _figure(estimate: Estimate) -> str:
    return estimate.reason if estimate.value is None else f"{estimate.value:.3f}"


def accuracy(report: Report) -> str:
    """Right of all, with the Wilson interval."""
    if report.accuracy is None or report.interval is None:
        return "nothing recorded"
    low, high = report.interval.low, report.interval.high
    share = f"{report.correct} of {report.n} = {report.accuracy:.1%}"
    return f"{share} (95 % interval {low:.1%} to {high:.1%})"
