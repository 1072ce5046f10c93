"""What the texts of particles must fit, as settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ponder.runtime import InputError, unknown
from ponder.strategies.api import Context
from ponder.strategies.fitting.proposals import PROPOSALS, Rule
from ponder.strategies.fitting.steps import Fitting
from ponder.verifiers import Fit, json_schema


class Fits(Protocol):
    """The settings."""

    @property
    def engine(self) -> str: ...

    @property
    def fits(self) -> Sequence[Fit]: ...

    @property
    def fitted(self) -> bool: ...

    @property
    def proposal(self) -> str: ...

    @property
    def most_checks(self) -> int | None: ...

    @property
    def ahead(self) -> int: ...

    @property
    def temperature(self) -> float: ...

    @property
    def top_p(self) -> float: ...

    @property
    def lookahead(self) -> int: ...


def check_fits(settings: Fits) -> None:
    """Raises `InputError` for settings out of range."""
    if settings.proposal not in PROPOSALS:
        raise InputError(unknown("proposal", settings.proposal, PROPOSALS))
    if settings.most_checks is not None and settings.most_checks < 1:
        raise InputError(f"most_checks is {settings.most_checks!r}; it must be 1 or more, or None")
    if settings.ahead < 1:
        raise InputError(f"ahead is {settings.ahead!r}; it must be 1 or more")
    if settings.fitted and not settings.temperature > 0:
        raise InputError(
            f"temperature is {settings.temperature!r}; where texts must fit something it must be "
            "above 0, since weights are of a distribution"
        )
    if settings.fitted and settings.lookahead:
        raise InputError(
            f"lookahead is {settings.lookahead!r}; where texts must fit something it must be 0"
        )


def fitting_of(ctx: Context, settings: Fits) -> Fitting:
    """Raises `InputError` where nothing is to be fitted, or a name is not known."""
    form = ctx.question.form
    wanted = (*settings.fits, *([json_schema(form)] if form is not None else []))
    if not wanted:
        raise InputError("nothing is to be fitted; give fits, or a question with a form")
    rule = Rule(
        proposal=settings.proposal,
        temperature=settings.temperature,
        top_p=settings.top_p,
        most_checks=settings.most_checks,
        ahead=settings.ahead,
    )
    return Fitting(
        potentials=[ctx.potential(fit) for fit in wanted],
        vocabulary=ctx.engine(settings.engine).vocabulary(),
        rule=rule,
    )
