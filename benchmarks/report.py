"""What the engine benchmark prints: a table a workload, ratios, floors, the machine; and the same
as one line of JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.floors import FLOORS, Speeds, Verdict, judge, ratio, spread
from ponder.runtime import describe_platform

if TYPE_CHECKING:
    from benchmarks.measuring import Results

HEADLINE = "ponder_bfloat16"
"""What "ponder" stands for: as often right as float32, and what vLLM runs."""
RIVALS = ("vllm", "llamacpp", "llamacpp_q4_0", "hf")


def print_report(results: Results, *, as_json: bool) -> None:
    machine = describe_machine(results)
    for key, value in machine.items():
        print(f"{key}: {value}")
    for name, text in results.descriptions.items():
        print(f"{name}: {text}")
    for workload, speeds in results.speeds.items():
        _print_workload(workload, speeds, results.errors.get(workload, {}))
    for where, errors in results.errors.items():
        for name, text in errors.items():
            print(f"{where}, {name}: {text}")
    _print_process(results)
    verdicts = [judge(floor, results.speeds.get(floor.workload, {})) for floor in FLOORS]
    for verdict in verdicts:
        print(_sentence(verdict))
    if as_json:
        print(json.dumps(as_document(results, machine, verdicts)))


def describe_machine(results: Results) -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return {
        "cpu": ", ".join(sorted(names)),
        "cores": os.cpu_count(),
        "instruction sets": [f for f in flags if f.startswith(("avx", "amx"))],
        "ponder runs": describe_platform().instruction_set or "torch",
        "load average": [round(load, 1) for load in results.loads],
    }


def ratios(speeds: Speeds) -> dict[str, dict[str, float]]:
    """Of every Ponder format to every rival, round by round."""
    return {
        f"{ours}/{theirs}": asdict(ratio(speeds, ours, theirs))
        for ours in speeds
        if ours.startswith("ponder_")
        for theirs in RIVALS
        if theirs in speeds
    }


def as_document(
    results: Results, machine: Mapping[str, object], verdicts: list[Verdict]
) -> dict[str, object]:
    spreads = {
        workload: {name: asdict(spread(rounds)) for name, rounds in speeds.items()}
        for workload, speeds in results.speeds.items()
    }
    return {
        "workloads": {workload: _medians(speeds) for workload, speeds in results.speeds.items()},
        "ponder": HEADLINE,
        "spreads": spreads,
        "ratios": {workload: ratios(speeds) for workload, speeds in results.speeds.items()},
        "floors": [asdict(verdict) | {"met": verdict.met} for verdict in verdicts],
        "errors": results.errors,
        "first token seconds": results.first_token,
        "peak bytes": results.peak_bytes,
        "machine": machine,
        "contenders": results.descriptions,
        "versions": results.versions,
    }


def _medians(speeds: Speeds) -> dict[str, float | None]:
    """None stands for who has no number; `errors` says why."""
    found: dict[str, float | None] = dict.fromkeys(("ponder", *RIVALS))
    found |= {name: spread(rounds).median for name, rounds in speeds.items()}
    return found | {"ponder": found.get(HEADLINE)}


def _print_workload(workload: str, speeds: Speeds, errors: Mapping[str, str]) -> None:
    print(f"\n{workload:24} tokens a second, median [lowest, highest]; ratio of {HEADLINE}")
    for name, rounds in speeds.items():
        against = f"{ratio(speeds, HEADLINE, name)}" if HEADLINE in speeds else ""
        print(f"  {name:22} {spread(rounds)!s:32} {against}")
    for name in errors:
        print(f"  {name:22} no number, see below")


def _print_process(results: Results) -> None:
    print()
    for name, kinds in results.first_token.items():
        times = "; ".join(f"{kind} {spread(seconds)} s" for kind, seconds in kinds.items())
        peak = results.peak_bytes.get(name, 0) / 2**20
        print(f"{name:24} first token after {times}; peak memory {peak:,.0f} MiB")


def _sentence(verdict: Verdict) -> str:
    floor = verdict.floor
    what = f"floor {floor.workload}: {floor.weights or 'fastest'} {floor.factor}x {floor.rival}"
    if verdict.ratio is None:
        return f"{what}: not measured"
    return f"{what}: {verdict.ours} {verdict.ratio}: {'met' if verdict.met else 'NOT met'}"
