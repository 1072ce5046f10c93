"""Reports as tables for people."""

from __future__ import annotations

from ponder.evals.reports import Report


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
    return "\n".join(f"{name:<10}  {text}" for name, text in rows)


def accuracy(report: Report) -> str:
    """Right of all, with the Wilson interval."""
    if report.accuracy is None or report.interval is None:
        return "nothing recorded"
    low, high = report.interval.low, report.interval.high
    share = f"{report.correct} of {report.n} = {report.accuracy:.1%}"
    return f"{share} (95 % interval {low:.1%} to {high:.1%})"
