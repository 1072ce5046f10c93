"""The main job: one model answers the same word problems under three strategies.

Run by `make run`. Each strategy asks every problem; the table says what the extra thinking bought
and what it cost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ponder import Runtime, best_of, open_engine, sample, vote
from ponder.evals import Report, find_task, load_examples, run_task
from ponder.verifiers import MathEquivalence

STRATEGIES = {
    "one sample": sample(1, temperature=0.7, max_tokens=96) | vote(),
    "self-consistency of 16": sample(16, temperature=0.7, max_tokens=96) | vote(),
    "best of 16 by likelihood": best_of(16, judge="likelihood", temperature=0.7, max_tokens=96),
}


async def compare(model: str, problems: int, difficulty: int, seed: int) -> list[Report]:
    """One report a strategy, on the same problems."""
    task = find_task("wordproblems")
    examples = load_examples(task, limit=problems, difficulty=difficulty, seed=seed)
    equivalence, reports = MathEquivalence(), list[Report]()
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        for name, strategy in STRATEGIES.items():
            advance = partial(progress.advance, progress.add_task(name, total=problems))
            # A fresh engine each, so that none profits from what another left in the cache.
            runtime = Runtime(open_engine(model), equivalence=equivalence)
            report = await run_task(
                runtime,
                task,
                examples,
                strategy,
                label=name,
                seed=seed,
                on_progress=lambda _: advance(),  # noqa: B023 - used within this turn of the loop
            )
            await runtime.close()
            reports.append(report)
    await equivalence.close()
    return reports


def table(reports: list[Report], title: str) -> Table:
    """A row a strategy."""
    rows = Table(title=title)
    for column in ("strategy", "right", "accuracy", "95 % interval", "tokens", "seconds", "tok/s"):
        rows.add_column(column, justify="left" if column == "strategy" else "right")
    for report in reports:
        interval, rate = report.interval, report.tokens_per_second
        rows.add_row(
            report.strategy,
            f"{report.correct} of {report.n}",
            f"{report.accuracy or 0:.0%}",
            f"{interval.low:.0%} to {interval.high:.0%}" if interval else "",
            f"{report.tokens:,}",
            f"{report.seconds:.1f}",
            f"{rate:,.0f}" if rate else "",
        )
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description="One model, three strategies.")
    options.add_argument("--model", default="embedded")
    options.add_argument("--problems", type=int, default=24)
    options.add_argument("--difficulty", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    reports = asyncio.run(compare(chosen.model, chosen.problems, chosen.difficulty, chosen.seed))
    title = (
        f"{chosen.problems} word problems of difficulty {chosen.difficulty}, {chosen.model} model"
    )
    # A pipe has no width of its own; the table needs this much.
    width = None if sys.stdout.isatty() else 100
    Console(width=width).print(table(reports, title))


if __name__ == "__main__":
    main()
