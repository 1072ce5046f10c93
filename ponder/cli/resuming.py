"""What `ponder solve` is asked for, here or in a search that it goes on from."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ponder.cli.terminal import standard_input, tell

if TYPE_CHECKING:
    from ponder.orchestrator import Budget, Expression
    from ponder.verifiers import Question

DEFAULT = "self_consistency"


def asked_for(
    question: str | None, strategy: str | None, resume: Path | None, answer_schema: Path | None
) -> tuple[Question, Expression]:
    """Whatever is not given is the resumed search's. Raises `InputError` without a question."""
    from ponder.orchestrator import from_yaml, load_strategy, read_schema, read_search
    from ponder.runtime import InputError
    from ponder.verifiers import Question

    text = standard_input() if question == "-" else question
    form = None if answer_schema is None else read_schema(answer_schema)
    if resume is None:
        if text is None:
            raise InputError("no question; give one, - for standard input, or --resume FILE")
        return Question(text=text, form=form), load_strategy(strategy or DEFAULT)
    saved = read_search(resume)
    if text is None:
        asked = saved.question if form is None else replace(saved.question, form=form)
    else:
        asked = Question(text=text, form=form)
    return asked, from_yaml(saved.strategy) if strategy is None else load_strategy(strategy)


def budget_of(tokens: int | None, seconds: float | None) -> Budget | None:
    """None where no limit is given: then a resumed search has the one it had."""
    from ponder.orchestrator import Budget

    return None if tokens is None and seconds is None else Budget(tokens=tokens, seconds=seconds)


def end_as_interrupted() -> None:
    """Have SIGTERM do as Ctrl-C does, in a running loop: what is under way ends in good order."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)


@contextmanager
def searching(place: Path | None) -> Generator[None]:
    """Tells on Ctrl-C what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if place is not None:
            tell(f"interrupted; `ponder solve --resume {place}` goes on from there")
        raise
