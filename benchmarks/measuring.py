"""Runs the engine benchmark: starts the contenders, gives each its turn, and collects what came
back. `report.py` says it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.contenders import OTHERS, Contender, Failure, Running, forget, ponder
from benchmarks.floors import Speeds
from benchmarks.report import print_report
from benchmarks.workloads import FIRST_TOKEN, GROWTH, STANDARD, Prompts, Workload, sampling
from ponder.runtime import describe_platform, load_model

WARM_UP = sampling("warm_up", 200, 16, 4)
MEMORY = sampling("memory", 200, 64, 128)


@dataclass(slots=True, kw_only=True)
class Results:
    """All by contender; workloads first where they matter."""

    speeds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Tokens a second, one number a round; only who ran all rounds."""
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    """By workload, or "start"."""
    descriptions: dict[str, str] = field(default_factory=dict)
    versions: dict[str, object] = field(default_factory=dict)
    first_token: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Seconds from the process's start to its first token: "warm", and "cold" where measured."""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    """The machine's load average, before each workload and at the end."""

    def fail(self, where: str, name: str, failure: Failure) -> None:
        self.errors.setdefault(where, {})[name] = str(failure)
        _tell(f"{where} {name}: {failure}")

    def note(self, name: str, running: Running) -> None:
        self.descriptions[name], self.versions[name] = running.description, running.versions
        self.peak_bytes[name] = running.peak


def start(contender: Contender, prompts: Prompts, results: Results, kind: str = "warm") -> Running:
    """The process after its first token, timed, and a warm-up."""
    running = Running(contender)
    try:
        first = running.seconds(FIRST_TOKEN.work(prompts.make(contender.name, 0, 64)))
        kinds = results.first_token.setdefault(contender.name, {})
        kinds.setdefault(kind, []).append(running.start_seconds + first)
        running.seconds(WARM_UP.work(prompts.make(contender.name, 1, WARM_UP.length)))
    except Failure:
        running.close()
        raise
    _tell(f"{contender.name} answered after {running.start_seconds + first:.1f} s")
    return running


@contextmanager
def started(
    contenders: Sequence[Contender], prompts: Prompts, results: Results
) -> Iterator[dict[str, Running]]:
    """Those that start, one after the other; stopped at the end."""
    running: dict[str, Running] = {}
    try:
        for contender in contenders:
            try:
                running[contender.name] = start(contender, prompts, results)
            except Failure as failure:
                results.fail("start", contender.name, failure)
        yield running
    finally:
        for name, each in running.items():
            results.note(name, each)
            each.close()


def measure(
    workload: Workload,
    running: Mapping[str, Running],
    prompts: Prompts,
    rounds: int,
    results: Results,
) -> Speeds:
    results.loads.append(os.getloadavg()[0])
    speeds: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(rounds):
        work = workload.work(prompts.make(workload.name, turn, workload.length))
        for name in list(speeds):
            try:
                speed = workload.tokens(work) / running[name].seconds(work)
            except Failure as failure:
                results.fail(workload.name, name, failure)
                del speeds[name]
            else:
                speeds[name].append(speed)
                _tell(f"{workload.name} round {turn + 1} {name}: {speed:,.1f} tok/s")
    results.speeds[workload.name] = speeds
    return speeds


def starts(
    contenders: Sequence[Contender], prompts: Prompts, rounds: int, results: Results
) -> None:
    """First tokens, each contender alone: cold, as far as the page cache can be emptied, and
    warm.
    """
    for contender in contenders:
        for kind in ("cold", "warm") * rounds:
            if kind == "cold":
                forget(contender)
            try:
                running = start(contender, prompts, results, kind)
            except Failure as failure:
                results.fail("start", contender.name, failure)
                break
            results.note(contender.name, running)
            running.close()


def memory(contenders: Sequence[Contender], prompts: Prompts, results: Results) -> None:
    """Peaks after 64 samples, each contender alone."""
    for contender in contenders:
        with started([contender], prompts, results) as running:
            measure(MEMORY, running, prompts, 1, results)


def chosen(names: Sequence[str] | None) -> list[Contender]:
    formats = describe_platform().weight_formats
    known = {c.name: c for c in [*map(ponder, formats), *OTHERS]}
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise SystemExit(f"unknown contender {wrong[0]!r}; known: {', '.join(known)}")
    return [known[name] for name in names or known]


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    workloads = [workload.name for workload in STANDARD]
    parser.add_argument("--contenders", nargs="+")
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--only", choices=["start", "memory", "growth"])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def run(given: argparse.Namespace) -> Results:
    contenders, results = chosen(given.contenders), Results()
    prompts, rounds = Prompts(load_model("embedded")), 1 if given.quick else given.rounds
    if given.only == "start":
        starts(contenders, prompts, rounds, results)
    elif given.only == "memory":
        memory(contenders, prompts, results)
    else:
        known = GROWTH if given.only else [w for w in STANDARD if w.name in given.workloads]
        with started(contenders, prompts, results) as running:
            for workload in known:
                measure(workload, running, prompts, rounds, results)
    results.loads.append(os.getloadavg()[0])
    return results


def main(description: str | None) -> None:
    given = arguments(description)
    print_report(run(given), as_json=given.json)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
