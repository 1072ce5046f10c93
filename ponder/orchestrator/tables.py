"""Plans and results: tables for people, plain data for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ponder.orchestrator.planning import Cost, Plan
from ponder.orchestrator.result import Result, Status

HEADINGS = ("node", "operation", "calls", "tokens", "KV branches", "KV pages", "candidates", "")


def plan_data(plan: Plan) -> dict[str, Any]:
    """JSON values."""
    return asdict(plan)


def plan_table(plan: Plan) -> str:
    """Columns in monospace, numbers to the right, and what to know below."""
    rows = [
        (n.name, n.operation, *_numbers(n.cost), f"{n.candidates:,}", n.note) for n in plan.nodes
    ]
    rows.append(("at most", "", *_numbers(plan.total), "", ""))
    widths = [max(len(row[i]) for row in (HEADINGS, *rows)) for i in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in (HEADINGS, *rows)]
    return "\n".join([plan.strategy, "", *lines, "", *_remarks(plan)]) + "\n"


def _numbers(cost: Cost) -> tuple[str, str, str, str]:
    return f"{cost.calls:,}", f"{cost.tokens:,}", f"{cost.branches:,}", f"{cost.pages:,}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        text.rjust(width) if 2 <= i <= 6 else text.ljust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _remarks(plan: Plan) -> list[str]:
    length = f"a prompt of {plan.prompt_tokens} tokens"
    remarks = [f"For {length}{', assumed: no question was given' * plan.assumed_prompt}."]
    remarks += [f"{note}." for note in plan.notes]
    if plan.may_bind:
        remarks.append(
            f"The budget of {' and '.join(plan.may_bind)} may bind: nodes then run one after "
            "another."
        )
    return remarks


def result_data(result: Result) -> dict[str, Any]:
    """JSON values; the trace is written apart."""
    total = result.usage.total
    return {
        "answer": result.answer,
        "confidence": result.confidence,
        "status": result.status.value,
        "text": result.text,
        "answers": [attempt.answer for attempt in result.candidates],
        "tokens": total.tokens,
        "decoded": total.decoded,
        "cached": total.cached,
        "calls": result.calls,
        "seconds": result.seconds,
        "verifiers": {
            tally.verifier: {"verdicts": tally.verdicts, "failures": tally.failures}
            for tally in result.judging
        },
        "seed": result.seed,
    }


def result_line(result: Result) -> str:
    """What an answer is worth and what it cost."""
    share = "no final answer" if result.answer is None else "confidence unknown"
    if result.confidence is not None:
        share = f"confidence {result.confidence:.0%}"
    if result.status is Status.UNSATISFIED:
        share = f"no text fits; the longest beginning of one: {result.farthest!r}"
    failed = "".join(
        f"; {t.verifier}: {t.failures:,} of {t.verdicts:,} verdicts failed"
        for t in result.judging
        if t.failures
    )
    return (
        f"{share}, {result.status.value}: {result.usage.tokens:,} tokens in {result.calls} calls, "
        f"{result.seconds:.1f} s, seed {result.seed}{failed}"
    )
