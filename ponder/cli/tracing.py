"""The command that tells what a run did, from its trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import AsJson
from ponder.cli.terminal import print_json, tell


def trace(
    file: Annotated[Path, typer.Argument(help="What --trace wrote, or a file of RUN/traces.")],
    as_json: AsJson = False,
    dot: Annotated[bool, typer.Option("--dot", help="Its search trees, for Graphviz.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write its search trees here, as one HTML page.")
    ] = None,
) -> None:
    """Tell what a run spent, and draw the trees that its searches grew."""
    from ponder import orchestrator
    from ponder.runtime import InputError

    if as_json + dot + (html is not None) > 1:
        raise InputError("give one of --json, --dot and --html")
    found = orchestrator.read_trace(file)
    if html is not None:
        orchestrator.write_trees_page(found, html)
        tell(f"the trees are in {html}")
    elif as_json:
        print_json(orchestrator.trace_data(found))
    else:
        shown = orchestrator.trees_dot(found) if dot else orchestrator.trace_table(found)
        typer.echo(shown.rstrip())
