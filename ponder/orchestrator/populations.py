"""The functions that write particle methods: `particle_filter("process_reward") | vote()`.

Beside their own settings all take those of `ParticleSettings` and of the searches.
"""

from __future__ import annotations

from typing import Unpack

from ponder.orchestrator.expression import Step
from ponder.orchestrator.searches import SearchSettings
from ponder.strategies import ParallelTempering, ParticleFilter, ParticleGibbs


class ParticleSettings(SearchSettings, total=False):
    """Settings that all particle methods share; `ponder.strategies` says what they mean."""

    particles: int
    scale: str
    softness: float
    target: str
    resampling: str
    threshold: float
    finished: str


def particle_filter(
    verifier: str, *, name: str | None = None, **shared: Unpack[ParticleSettings]
) -> Step:
    """Grow a population of paths; the promising are copied, the others die."""
    return Step(strategy=ParticleFilter(verifier=verifier, **shared), name=name)


def particle_gibbs(
    verifier: str,
    *,
    iterations: int = 4,
    pool: str = "all",
    name: str | None = None,
    **shared: Unpack[ParticleSettings],
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
    **shared: Unpack[ParticleSettings],
) -> Step:
    """Particle Gibbs at several temperatures, whose neighbours exchange what they retain."""
    strategy = ParallelTempering(
        verifier=verifier, ladder=ladder, iterations=iterations, pool=pool, **shared
    )
    return Step(strategy=strategy, name=name)
