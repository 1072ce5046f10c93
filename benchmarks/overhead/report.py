"""What the orchestration benchmark prints: a table a metric, floors, and all of it as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.floors import spread
from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import Row
from benchmarks.overhead.verdicts import verdicts

NOT_YET = "not measured: tokens drawn after an end; searches are `benchmarks/search.py`'s"


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.split(":")[1].strip() for line in lines if "model name" in line), ""),
        "cores": os.cpu_count(),
        "load average": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def summary(numbers: Sequence[float]) -> dict[str, float]:
    """Median and quartiles; those of one or two numbers are the numbers."""
    found = spread(numbers)
    low, _, high = quantiles(numbers, n=4) if len(numbers) > 2 else (found.low, 0, found.high)
    return {"median": found.median, "low": low, "high": high, "rounds": len(numbers)}


def document(
    rows: Sequence[Row],
    missing: Mapping[str, str],
    versions: Mapping[str, object],
    loads: Mapping[str, object],
) -> dict[str, Any]:  # Any: JSON
    return {
        "metrics": rows_as_json(rows),
        "ratios": ratios(rows),
        "floors": [asdict(verdict) for verdict in verdicts(rows)],
        "missing": dict(missing),
        "not yet": NOT_YET,
        "versions": dict(versions),
        "machine": dict(loads),
    }


def rows_as_json(rows: Sequence[Row]) -> dict[str, Any]:  # Any: JSON
    """By metric, case and contender."""
    metrics: dict[str, Any] = {}
    for row in rows:
        case = metrics.setdefault(row.metric, {}).setdefault(row.case, {})
        case[row.contender] = {name: summary(values) for name, values in row.numbers.items()}
        if row.note:
            case[row.contender]["note"] = row.note
    return metrics


def ratios(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Rivals' medians over Ponder's, of costs."""
    costs = ("cpu ms a request", "cpu ms a sample", "wall s", "added ms", "import s", "MB")
    found: dict[str, dict[str, float]] = {}
    for ours in (row for row in rows if row.contender == OWN):
        for theirs in rows:
            if (theirs.metric, theirs.case) != (ours.metric, ours.case) or theirs is ours:
                continue
            for cost in costs:
                if ours.numbers.get(cost) and theirs.numbers.get(cost):
                    key = f"{theirs.contender}/{OWN} {cost}"
                    value = spread(theirs.numbers[cost]).median / spread(ours.numbers[cost]).median
                    found.setdefault(f"{ours.metric}, {ours.case}", {})[key] = round(value, 3)
    return found


def print_report(told: Mapping[str, Any], *, as_json: bool) -> None:  # Any: JSON
    for key in ("machine", "versions"):
        print(f"{key}: {told[key]}")
    print_rows(told["metrics"])
    print()
    for name, text in told["missing"].items():
        print(f"{name}: {text}")
    print(told["not yet"])
    for verdict in told["floors"]:
        met = {True: "met", False: "NOT met", None: "?"}[verdict["met"]]
        print(f"floor {met}: {verdict['floor']} ({verdict['found']})")
    if as_json:
        print(json.dumps(told))


def print_rows(metrics: Mapping[str, Any]) -> None:  # Any: JSON
    for metric, cases in metrics.items():
        print(f"\n{metric}: median [quartiles]")
        for case, contenders in cases.items():
            for contender, numbers in contenders.items():
                print(f"  {case:28} {contender:24} {_line(numbers)}")


def _line(numbers: Mapping[str, Any]) -> str:  # Any: JSON
    parts = [
        f"{name} {value['median']:.4g}"
        + (f" [{value['low']:.4g}, {value['high']:.4g}]" if value["low"] != value["high"] else "")
        for name, value in numbers.items()
        if name != "note"
    ]
    return "; ".join([*parts, *([numbers["note"]] if "note" in numbers else [])])
