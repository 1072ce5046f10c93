"""Adaptive weighted rejection sampling: one token from a model's distribution restricted to those
that a constraint allows, with an unbiased weight, and few questions to the constraint (Lipkin et
al., arXiv 2504.05410; dossier S 14.2).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from ponder.strategies.uniforms import Uniforms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Masses = npt.NDArray[np.float64]

Allowed = Callable[[int], Awaitable[bool]]
"""Whether a token may come next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    token: int | None
    """None where nothing is allowed, or nothing was found with the questions there were."""
    log_weight: float
    """Over draws, the mean of weight times f(token) is the sum of p f over the allowed tokens, for
    every f. -inf without a token.
    """
    checks: int
    """Questions asked."""


async def adaptive_rejection(
    masses: Sequence[float] | Masses,
    allowed: Allowed,
    uniform: Uniforms,
    *,
    most_checks: int | None = None,
) -> Proposal:
    """Draw until something is allowed; then draw anew, beside what was refused, until something is
    allowed again: how long that takes tells how much is.

    Args:
        masses: of the tokens, by id; they need not sum to 1, and the weight has their sum in it.
        allowed: the constraint.
        uniform: the draws.
        most_checks: questions after which the particle is given up, which biases weights downwards;
            None asks on.
    """
    uniforms = map(uniform, count())
    urn = Urn(masses)
    known = dict[int, bool]()

    async def first_allowed() -> int | None:
        """The next token that may come; those that may not are gone from the urn."""
        for token in urn.tokens(uniforms):
            if token not in known:
                if len(known) == most_checks:
                    return None
                known[token] = await allowed(token)
            if known[token]:
                return token
            urn.remove(token)
        return None

    token = await first_allowed()
    if token is None:
        return Proposal(token=None, log_weight=-math.inf, checks=len(known))
    left = urn.mass
    again = await first_allowed()  # the same one perhaps, which is not asked for again
    refused = sum(not allows for allows in known.values())
    if again is None:
        return Proposal(token=None, log_weight=-math.inf, checks=len(known))
    weight = math.log(left) - math.log(refused + 1)
    return Proposal(token=token, log_weight=weight, checks=len(known))


class Urn:
    """Tokens by their masses, drawn from what is left."""

    def __init__(self, masses: Sequence[float] | Masses) -> None:
        import numpy as np

        self._left: npt.NDArray[np.float64] = np.array(masses, dtype=np.float64)
        self._edges = self._left.cumsum()
        self._stale = 0.0
        """Mass in `_edges` that is gone."""

    @property
    def mass(self) -> float:
        return float(self._left.sum())

    def tokens(self, uniforms: Iterator[float]) -> Iterator[int]:
        """Draws, until nothing is left; whoever takes one may remove it."""
        while True:
            if 2 * self._stale >= self._edges[-1]:
                self._edges, self._stale = self._left.cumsum(), 0.0
                if not self._edges[-1] > 0:
                    return
            point = next(uniforms) * float(self._edges[-1])
            at = int(self._edges.searchsorted(point, side="right"))
            if at < len(self._left) and self._left[at] > 0:  # else it was gone already
                yield at

    def remove(self, token: int) -> None:
        self._stale += float(self._left[token])
        self._left[token] = 0.0
