"""The functions that write particle methods: `particle_filter("process_reward") | vote()`.

Beside their own settings all take those of `ParticleSettings` and of the searches.
"""

from __future__ import annotations

from typing import Unpack

from ponder.orchestrator.expression import Step
from ponder.orchestrator.searches import SearchSettings
from ponder.strategies import Constrained, ParallelTempering, ParticleFilter, ParticleGibbs
from ponder.verifiers import Fit


class ParticleSettings(SearchSettings, total=False):
    """Settings that all particle methods share; `ponder.strategies` says what they mean."""

    particles: int
    scale: str
    softness: float
    target: str
    resampling: str
    threshold: float
    finished: str
    proposal: str
    most_checks: int | None
    ahead: int


class FittingSettings(ParticleSettings, total=False):
    """The same, and what texts must fit."""

    fits: tuple[Fit, ...]


def particle_filter(
    verifier: str, *, name: str | None = None, **shared: Unpack[FittingSettings]
) -> Step:
    """Grow a population of paths; the promising are copied, the others die."""
    return Step(strategy=ParticleFilter(verifier=verifier, **shared), name=name)


def particle_gibbs(
    verifier: str,
    *,
    iterations: int = 4,
    pool: str = "all",
    name: str | None = None,
    **shared: Unpack[FittingSettings],
) -> Step:
    """Filter again and again, each time around one path retained from the last."""
    strategy = ParticleGibbs(verifier=verifier, iterations=iterations, pool=pool, **shared)
    return Step(strategy=strategy, name=name)


def parallel_tempering(
    verifier: str,
    *,
    ladder: tuple[float, ...] = (2.0, 1.0),
    iterations: int = 4,
    pool: str = "all",
    name: str | None = None,
    **shared: Unpack[FittingSettings],
) -> Step:
    """Particle Gibbs at several temperatures, whose neighbours exchange what they retain."""
    strategy = ParallelTempering(
        verifier=verifier, ladder=ladder, iterations=iterations, pool=pool, **shared
    )
    return Step(strategy=strategy, name=name)


def constrained(
    *fits: Fit,
    verifier: str = "indifferent",
    name: str | None = None,
    **shared: Unpack[ParticleSettings],
) -> Step:
    """Draw whole texts that fit all of `fits`, as weighted particles."""
    return Step(strategy=Constrained(fits=fits, verifier=verifier, **shared), name=name)
