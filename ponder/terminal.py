"""What the commands share: engines opened and closed, progress bars, and printing."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ponder.evals import Progress
    from ponder.orchestrator import Runtime


@asynccontextmanager
async def opened(model: str, concurrency: int, weights: str) -> AsyncGenerator[Runtime]:
    from ponder.orchestrator import Runtime
    from ponder.runtime import open_engine
    from ponder.verifiers import MathEquivalence

    engine, equivalence = open_engine(model, weights=weights), MathEquivalence()
    try:
        yield Runtime(engine, equivalence=equivalence, concurrency=concurrency)
    finally:
        await equivalence.close()
        await engine.close()


@contextmanager
def bar(title: str, total: int) -> Generator[Callable[[str], None]]:
    """A progress bar on a terminal, nothing in a pipe. Call what it gives with the new title."""
    if not sys.stderr.isatty():
        yield lambda title: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task(title, total=total)
        yield lambda title: progress.update(shown, description=title, advance=1)


@contextmanager
def resumable(out: Path | None) -> Generator[None]:
    """Tells on Ctrl-C what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"what is finished is in {out}; the same command goes on from there"
        typer.echo(f"interrupted; {kept if out else 'without --out nothing is kept'}", err=True)
        raise


def tally(task: str, advance: Callable[[str], None]) -> Callable[[Progress], None]:
    correct = 0

    def tell(progress: Progress) -> None:
        nonlocal correct
        correct += progress.record.correct
        advance(f"{task}: {correct} right")

    return tell


def tell(text: str) -> None:
    typer.echo(text, err=True)


def standard_input() -> str:
    from ponder.runtime import InputError

    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text: {error}") from error


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
