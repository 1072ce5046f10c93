"""Whole texts that fit, as weighted samples: sequential Monte Carlo over tokens (Lew et al. 2023,
arXiv 2306.03081; Loula et al. 2025, arXiv 2504.13139; dossier S 14.5).

The target is the policy's distribution of texts of at most `max_tokens` tokens, times the weights
that potentials give whole texts. It is a particle filter whose steps are tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ponder.strategies.particles.populations import Particles


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained(Particles):
    """Draw whole texts that must fit something, token by token, as weighted particles."""

    source: ClassVar[str] = "Lipkin et al. 2025, arXiv 2504.05410; Loula et al. 2025, 2504.13139"

    verifier: str = "indifferent"
    temperature: float = 1.0
    """1 is the model's own distribution, which the weights are then of."""
    step_stop: tuple[str, ...] = ()
    step_tokens: int = 1
    """Between two looks at who is to be resampled."""
    max_tokens: int = 256
    """Of one text, with its end token."""
    depth: int = 1_000_000
    """Steps of one path; tokens end it before."""
    goal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.check_particles()

    @property
    def fitted(self) -> bool:
        return True

    @property
    def steps(self) -> int:
        return self.particles * min(self.depth, math.ceil(self.max_tokens / self.step_tokens))
