"""The particle methods: one pass, passes around a retained path, and those at several temperatures
(Puri et al., arXiv 2502.01618, algorithms 1 to 3; dossier S 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ponder.runtime import InputError, unknown
from ponder.strategies.particles.populations import Particles, Populations

POOLS = ("all", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleFilter(Particles):
    """Grow a population of paths step by step; the promising are copied, the others die."""

    def __post_init__(self) -> None:
        self.check_particles()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleGibbs(Particles):
    """Filter again and again, each time around one path retained from the last."""

    resampling: str = "multinomial"
    iterations: int = 4
    """Filters run, each but the first around a path kept from the one before."""
    pool: str = "all"
    """Answer with the particles of "all" iterations, or of the "last"."""

    def __post_init__(self) -> None:
        self.check_gibbs()

    def check_gibbs(self) -> None:
        """Raises `InputError` for settings out of range."""
        self.check_particles("iterations")
        if self.pool not in POOLS:
            raise InputError(unknown("pool", self.pool, POOLS))
        if self.resampling != "multinomial":
            raise InputError(
                f"resampling is {self.resampling!r}; a retained path is respected by "
                "'multinomial' alone"
            )

    @property
    def rounds(self) -> int:
        return self.iterations

    @property
    def keeps(self) -> bool:
        return self.pool == "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTempering(ParticleGibbs):
    """Particle Gibbs at several temperatures; neighbours may exchange what they retain."""

    ladder: tuple[float, ...] = (2.0, 1.0)
    """Temperatures, falling; the last population's particles are the answer."""

    def __post_init__(self) -> None:
        self.check_gibbs()
        falling = all(a > b for a, b in pairwise(self.ladder))
        if not self.ladder or not falling or not 0 < self.ladder[-1] < math.inf:
            raise InputError(f"ladder is {self.ladder!r}; it must fall, and stay above 0")

    @property
    def temperatures(self) -> tuple[float, ...]:
        return self.ladder

    def references(self, state: Populations) -> list[tuple[int, ...]]:
        found = [self.retained(state, chain) for chain in state.chains]
        # Even pairs, then odd ones, in turns.
        for k in range(state.iteration % 2, len(found) - 1, 2):
            if not found[k] or not found[k + 1]:
                continue
            mine, other = (self.log_weight(state.tree, path) for path in found[k : k + 2])
            chance = exchange(mine, other, self.ladder[k], self.ladder[k + 1])
            if state.chains[k].path.child("exchange").uniform(0) < chance:
                found[k], found[k + 1] = found[k + 1], found[k]
                state.swaps += 1
        return found


def exchange(hot_weight: float, cold_weight: float, hot: float, cold: float) -> float:
    """Metropolis' chance that two neighbours exchange paths of these log-weights."""
    return math.exp(min(0.0, (hot_weight - cold_weight) * (1 / cold - 1 / hot)))
