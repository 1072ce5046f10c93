"""Plans, results and the catalogue of operations: tables for people, plain data for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ponder.orchestrator.operations import Operation, operations
from ponder.orchestrator.planning import Cost, Plan
from ponder.orchestrator.presets import PRESETS
from ponder.orchestrator.result import Result
from ponder.verifiers import STEP_VERIFIERS, VERIFIERS

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
        "seed": result.seed,
    }


def result_line(result: Result) -> str:
    """What an answer is worth and what it cost."""
    share = "no final answer" if result.answer is None else "confidence unknown"
    if result.confidence is not None:
        share = f"confidence {result.confidence:.0%}"
    return (
        f"{share}, {result.status.value}: {result.usage.tokens:,} tokens in {result.calls} calls, "
        f"{result.seconds:.1f} s, seed {result.seed}"
    )


def catalogue_data() -> dict[str, Any]:
    """All that a strategy can be made of; JSON values."""
    return {
        "presets": {
            name: {"description": p.description, "strategy": repr(p.expression)}
            for name, p in PRESETS.items()
        },
        "operations": {
            o.name: {
                "description": o.description,
                "takes": [port.value for port in o.takes],
                "gives": [port.value for port in o.gives],
                "parameters": [asdict(parameter) for parameter in o.parameters],
            }
            for o in operations()
        },
        "verifiers": {name: kind.summary for name, kind in VERIFIERS.items()},
        "step_verifiers": {
            name: {"description": kind.summary, "needs": sorted(kind.needs)}
            for name, kind in STEP_VERIFIERS.items()
        },
    }


def catalogue_table() -> str:
    """The same for people."""
    sections = {
        "Presets": [(n, f"{p.description} {p.expression!r}") for n, p in PRESETS.items()],
        "Operations": [(_signature(o), o.description) for o in operations()],
        "Verifiers": [(name, kind.summary) for name, kind in VERIFIERS.items()],
        "Step verifiers": [(name, kind.summary) for name, kind in STEP_VERIFIERS.items()],
    }
    blocks = [
        "\n".join([title, *(f"  {name}\n      {text}" for name, text in rows)])
        for title, rows in sections.items()
    ]
    return "\n\n".join(blocks)


def _signature(operation: Operation) -> str:
    settings = [p.name if p.required else f"{p.name}={p.default!r}" for p in operation.parameters]
    ways = (
        " or ".join(port.value for port in operation.takes),
        " or ".join(port.value for port in operation.gives),
    )
    return f"{operation.name}({', '.join(settings)}): {ways[0]} -> {ways[1]}"
