"""The program: which commands there are, and how it ends. A user's mistake exits with 2, any other
failure with 1, Ctrl-C with 130.
"""

from __future__ import annotations

import sys

import typer

from ponder.cli import asking, rescoring, serving, telling, tracing

app = typer.Typer(
    name="ponder",
    help="Make a language model think longer where it pays.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(asking.solve)
app.command(name="eval")(asking.evaluate)
app.command()(rescoring.rescore)
app.command()(serving.serve)
app.command()(tracing.trace)
app.command()(telling.plan)
app.command()(telling.strategies)
app.command()(telling.models)
app.command()(telling.doctor)


def main() -> None:
    """The `ponder` program."""
    from ponder.runtime import InputError, PonderError

    try:
        app()
    except InputError as error:
        code, told = 2, str(error)
    except (PonderError, OSError) as error:
        code, told = 1, str(error)
    except KeyboardInterrupt:
        code, told = 130, ""
    else:
        return
    if told:
        typer.echo(f"ponder: {told}", err=True)
    sys.exit(code)
