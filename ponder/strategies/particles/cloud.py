"""A population of weighted samples, and what may be done to it without changing what it stands for.

A cloud estimates a measure: the sum over x of f(x) times the measure of x is, in expectation, the
evidence times the weighted mean of f, for every f. Proposing (a particle grows, and its weight
takes the ratio of target to proposal), `weighed` and `resampled` keep that; samplers are made of
them and of moves that leave the target as it is (Del Moral et al. 2006; dossier S 2.1, S 14.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ponder.strategies.particles.resampling import SCHEMES
from ponder.strategies.particles.weights import effective, log_mean, shares
from ponder.strategies.uniforms import Uniforms

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud(Generic[T]):
    particles: tuple[T, ...]
    log_weights: tuple[float, ...]
    """Unnormalised; -inf for a dead particle."""
    log_scale: float = 0.0
    """log of what resampling took out of the weights."""

    @classmethod
    def of(cls, particles: Sequence[T]) -> Cloud[T]:
        """Of equal weights, 1 each."""
        return cls(particles=tuple(particles), log_weights=(0.0,) * len(particles))

    @property
    def log_evidence(self) -> float:
        """Log of an unbiased estimate of the measure's mass; -inf where all particles are dead."""
        return self.log_scale + log_mean(self.log_weights)

    @property
    def effective(self) -> float:
        """Effective sample size: in [1, n]; 0 where all are dead."""
        return effective(self.log_weights)

    @property
    def shares(self) -> list[float]:
        """Normalised weights; all zero where all are dead."""
        return shares(self.log_weights) or [0.0] * len(self.particles)

    def weighed(self, increments: Sequence[float]) -> Cloud[T]:
        """Log-weights changed by these, one a particle."""
        changed = zip(self.log_weights, increments, strict=True)
        # -inf stays, whatever is added.
        logs = tuple(old if old == -math.inf else old + change for old, change in changed)
        return replace(self, log_weights=logs)

    def moved(self, particles: Sequence[S]) -> Cloud[S]:
        """The same weights on other particles: each grew, or moved without changing the target."""
        return Cloud(
            particles=tuple(particles), log_weights=self.log_weights, log_scale=self.log_scale
        )

    def resampled(self, scheme: str, uniform: Uniforms, *, keep: int = 0) -> Cloud[T]:
        """Equal weights, on ancestors drawn by theirs; as it is where all are dead.

        Args:
            scheme: a name in `SCHEMES`.
            uniform: the draws.
            keep: so many particles at the front are their own ancestors, as conditional sampling
                wants it (Andrieu et al. 2010); the others are drawn from all.
        """
        weights = shares(self.log_weights)
        if not weights:
            return self
        drawn = SCHEMES[scheme](weights, len(weights) - keep, uniform)
        ancestors = [*range(keep), *drawn]
        return Cloud(
            particles=tuple(self.particles[i] for i in ancestors),
            log_weights=(0.0,) * len(ancestors),
            log_scale=self.log_evidence,
        )
