"""What the commands share: progress bars, printing and reading."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ponder.evals import Progress, Report


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
        tell(f"interrupted; {kept if out else 'without --out nothing is kept'}")
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


def print_report(report: Report, as_json: bool) -> None:
    from ponder.evals import report_table

    if as_json:
        print_json(report.as_dict())
    else:
        typer.echo(report_table(report))


def print_rows(found: Mapping[str, str | int | tuple[str, ...]]) -> None:
    """A line a name, values side by side."""
    for name, value in found.items():
        shown = value if isinstance(value, str | int) else ", ".join(value)
        typer.echo(f"{name.replace('_', ' '):18}{shown or '-'}")
