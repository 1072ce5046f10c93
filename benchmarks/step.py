"""Times the step alone, without scheduler or tokeniser: torch beside the native step in each weight
format, on the embedded model.

W1 is one stream (64 tokens, then 128 drawn); W2 is 16 and 64 samples of one 200-token prompt, 128
tokens each; W3 is a prompt of 1,024 in chunks of 512. Contenders take turns within a round, so that
a busy machine slows all of them. The last line is JSON: medians in tokens a second, their spread
(lowest and highest of the rounds), and seconds by phase.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from ponder.runtime import Sampling
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.view import View
from ponder.runtime.models import LoadedModel, load_model
from ponder.runtime.runners.api import Runner, StepTime, Work
from ponder.runtime.runners.choice import WeightFormat, choose_runner
from ponder.runtime.runners.sampler import make_rule

PAGES = 1200
CHUNK = 512
FORMATS: dict[str, WeightFormat] = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "int8": "int8",
    "int4": "int4",
}
CONTENDERS = ("torch", *FORMATS)


def prefill(runner: Runner, view: View, tokens: Sequence[int]) -> torch.Tensor:
    """Logits of the last token."""
    hidden = torch.empty(0)
    for start in range(0, len(tokens), CHUNK):
        chunk = tokens[start : start + CHUNK]
        view.grow(len(chunk))
        hidden = runner.hidden([Work(tokens=chunk, slots=view.slots, wanted=1)])
    return runner.logits(hidden)


def decode(runner: Runner, views: Sequence[View], logits: torch.Tensor, steps: int) -> None:
    rules = [make_rule(Sampling(max_tokens=1), runner.config.vocabulary)] * len(views)
    logits = logits.expand(len(views), -1)
    for step in range(steps):
        points = [((i + 1) * 0.6180339887 + step * 0.7548776662) % 1 for i in range(len(views))]
        works: list[Work] = []
        for view, drawn in zip(views, runner.draw(logits, rules, points), strict=True):
            view.grow(1)
            works.append(Work(tokens=[drawn.token], slots=view.slots, wanted=1))
        logits = runner.logits(runner.hidden(works))


def samples(runner: Runner, prompt: int, branches: int, steps: int) -> float:
    """Tokens drawn a second, the prompt's time included."""
    pool = PagePool(PAGES)
    start = time.perf_counter()
    root = View(pool)
    logits = prefill(runner, root, [(7 * i) % 1000 + 300 for i in range(prompt)])
    decode(runner, [root.fork() for _ in range(branches)], logits, steps)
    return branches * steps / (time.perf_counter() - start)


def prompt_speed(runner: Runner) -> float:
    start = time.perf_counter()
    prefill(runner, View(PagePool(PAGES)), [(7 * i) % 1000 + 300 for i in range(1024)])
    return 1024 / (time.perf_counter() - start)


def workloads(steps: int) -> dict[str, Callable[[Runner], float]]:
    return {
        "w1": lambda runner: samples(runner, 64, 1, steps),
        "w2_16": lambda runner: samples(runner, 200, 16, steps),
        "w2_64": lambda runner: samples(runner, 200, 64, steps),
        "w3": prompt_speed,
    }


def make_runner(model: LoadedModel, contender: str, threads: int) -> Runner:
    if contender == "torch":
        runner = choose_runner(model, kernels="torch", threads=threads)
    elif contender in FORMATS:
        runner = choose_runner(
            model, kernels="native", weight_format=FORMATS[contender], threads=threads
        )
    else:
        raise SystemExit(f"unknown contender {contender!r}; known: {', '.join(CONTENDERS)}")
    runner.reserve(PAGES)
    return runner


def timed(runner: Runner, workload: Callable[[Runner], float]) -> tuple[float, dict[str, float]]:
    before: dict[str, float] = asdict(runner.time)
    torch.set_num_threads(runner.torch_threads)
    speed = workload(runner)
    after: dict[str, float] = asdict(runner.time)
    return speed, {phase: after[phase] - before[phase] for phase in before}


def measure(
    runners: dict[str, Runner], workload: Callable[[Runner], float], rounds: int
) -> dict[str, dict[str, object]]:
    results: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in runners}
    # The first round meets KV memory that the system has yet to hand out; it is not counted.
    for runner in runners.values():
        timed(runner, workload)
    for _ in range(rounds):
        for name, runner in runners.items():
            results[name].append(timed(runner, workload))
    table: dict[str, dict[str, object]] = {}
    for name, runs in results.items():
        speeds = sorted(speed for speed, _ in runs)
        table[name] = {
            "median": round(statistics.median(speeds), 1),
            "spread": [round(speeds[0], 1), round(speeds[-1], 1)],
            "seconds": {
                phase: round(statistics.median(split[phase] for _, split in runs), 3)
                for phase in asdict(StepTime())
            },
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--workloads", nargs="+", default=["w1", "w2_16", "w2_64", "w3"])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    model = load_model("embedded")
    runners = {name: make_runner(model, name, given.threads) for name in given.contenders}
    known = workloads(given.steps)
    print(f"load average {os.getloadavg()[0]:.1f}, {given.threads} threads")
    report: dict[str, object] = {name: runner.description for name, runner in runners.items()}
    with torch.inference_mode():
        for name in given.workloads:
            table = measure(runners, known[name], given.rounds)
            report[name] = table
            for contender, row in table.items():
                print(f"{name:6} {contender:9} {row['median']!s:>8} tok/s", *list(row.values())[1:])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
