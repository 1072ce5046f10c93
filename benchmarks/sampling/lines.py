"""What is compared at 1 to 64 samples: particle methods, deterministic searches and whole attempts.

The budget is the number of paths that are drawn: particles over all iterations and temperatures, a
search's width, samples. Settings were fixed before any result was seen. Those of the particle
methods are the framework's defaults (the weight of a step is its score, systematic resampling at
half the effective size); "as printed" is the filter as the source has it (multinomial resampling at
each step). Particles vote by their weights, which is the source's weighted majority (Puri et al.,
arXiv 2502.01618; dossier S 2.2); searches vote by scores, as in `benchmarks/search.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.searching.lines import MAJORITY, SAMPLES, VERIFIER, WEIGHTED, Line, best_of
from ponder.orchestrator import (
    Expression,
    beam,
    dvts,
    parallel_tempering,
    particle_filter,
    particle_gibbs,
    vote,
)
from ponder.orchestrator.searches import SearchSettings

FILTER, PRINTED = "particle filter", "particle filter, as printed"
SUBTREE = 4
"""Next steps of a prefix in beam search and DVTS; fewer where the width is less."""
MOST_ROUNDS = 4
HOT_AND_COLD = (2.0, 1.0)


def _filter(n: int, tree: SearchSettings) -> Expression:
    return particle_filter(VERIFIER, particles=n, **tree) | vote()


def _printed(n: int, tree: SearchSettings) -> Expression:
    printed = particle_filter(
        VERIFIER, particles=n, resampling="multinomial", threshold=1.0, **tree
    )
    return printed | vote()


def gibbs_shape(n: int) -> tuple[int, int]:
    """Particles and iterations: four iterations where each then has two particles, as the source's
    16 x 4 does, and fewer where not.
    """
    rounds = max(1, min(MOST_ROUNDS, n // 2))
    return n // rounds, rounds


def tempering_shape(n: int) -> tuple[int, int, tuple[float, ...]]:
    """Particles, iterations and temperatures; one path has one temperature."""
    if n == 1:
        return 1, 1, HOT_AND_COLD[-1:]
    particles, rounds = gibbs_shape(n // len(HOT_AND_COLD))
    return particles, rounds, HOT_AND_COLD


def _gibbs(n: int, tree: SearchSettings) -> Expression:
    particles, rounds = gibbs_shape(n)
    return particle_gibbs(VERIFIER, particles=particles, iterations=rounds, **tree) | vote()


def _tempering(n: int, tree: SearchSettings) -> Expression:
    particles, rounds, ladder = tempering_shape(n)
    tempered = parallel_tempering(
        VERIFIER, particles=particles, iterations=rounds, ladder=ladder, **tree
    )
    return tempered | vote()


def _beam(n: int, tree: SearchSettings) -> Expression:
    return beam(VERIFIER, width=n, expand=min(n, SUBTREE), **tree) | vote(weights="judge")


def _dvts(n: int, tree: SearchSettings) -> Expression:
    return dvts(VERIFIER, width=n, expand=min(n, SUBTREE), **tree) | vote(weights="judge")


LINES = (
    Line(name=FILTER, budgets=SAMPLES, make=_filter),
    Line(name=PRINTED, budgets=SAMPLES, make=_printed),
    Line(name="particle Gibbs", budgets=SAMPLES, make=_gibbs),
    Line(name="parallel tempering", budgets=SAMPLES, make=_tempering),
    Line(name="beam", budgets=SAMPLES, make=_beam),
    Line(name="dvts", budgets=SAMPLES, make=_dvts),
    *map(best_of, ("last", "mean")),
    WEIGHTED,
    MAJORITY,
)
RIVALS = tuple(line.name for line in LINES[4:])


def populations() -> Sequence[Line]:
    return LINES
