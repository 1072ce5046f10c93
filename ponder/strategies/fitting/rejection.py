"""Adaptive weighted rejection sampling: one token from a model's distribution restricted to those
that a constraint allows, with an unbiased weight, and few questions to the constraint (Lipkin et
al., arXiv 2504.05410; dossier S 14.2).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ponder.strategies.uniforms import Uniforms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Masses = npt.NDArray[np.float64]

BLOCK = 256
"""Tokens of a block of an urn."""
Allowed = Callable[[Sequence[int]], Awaitable[Sequence[bool]]]
"""Whether each of these tokens may come next."""


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
    ahead: int = 1,
) -> Proposal:
    """Draw until something is allowed; then draw anew, beside what was refused, until something is
    allowed again: how long that takes tells how much is.

    Args:
        masses: of the tokens, by id; they need not sum to 1, and the weight has their sum in it.
        allowed: the constraint.
        uniform: the draws.
        most_checks: questions after which the particle is given up, which biases weights downwards;
            None asks on.
        ahead: tokens to ask about at once: the one that was drawn, and those that are next if it is
            refused. Token and weight are the same for any number, unless `most_checks` binds.
    """
    urn = Urn(masses, uniform)
    known = dict[int, bool]()
    refused = 0

    async def first_allowed() -> int | None:
        """The next token that may come; those that may not are gone from the urn."""
        nonlocal refused
        while (token := urn.draw()) is not None:
            if token not in known:
                most = ahead if most_checks is None else min(ahead, most_checks - len(known))
                if not most:
                    return None
                some = [token, *(urn.upcoming(token, known, most - 1) if most > 1 else ())]
                known.update(zip(some, await allowed(some), strict=True))
            if known[token]:
                return token
            urn.remove(token)
            refused += 1
        return None

    token = await first_allowed()
    if token is None:
        return Proposal(token=None, log_weight=-math.inf, checks=len(known))
    left = urn.mass
    again = await first_allowed()  # the same one perhaps, which is not asked for again
    if again is None:
        return Proposal(token=None, log_weight=-math.inf, checks=len(known))
    weight = math.log(left) - math.log(refused + 1)
    return Proposal(token=token, log_weight=weight, checks=len(known))


class Urn:
    """Tokens by their masses, drawn from what is left. They lie in blocks, so that looking anew at
    what is left is not a look at all of them.
    """

    def __init__(self, masses: Sequence[float] | Masses, uniform: Uniforms) -> None:
        import numpy as np

        size = len(masses)
        padded = np.zeros(-(-size // BLOCK) * BLOCK)
        padded[:size] = masses
        self._left: Masses = padded.reshape(-1, BLOCK)
        self._sums: Masses = self._left.sum(axis=1)
        self._edges: Masses = self._sums.cumsum()
        self._inner: dict[int, Masses] = {}
        """Edges within blocks that were drawn from."""
        self._stale = 0.0
        """Mass in `_edges` that is gone."""
        self._touched = set[int]()
        """Blocks that it is gone from."""
        self._uniform = uniform
        self._place = 0
        """Of the next draw."""

    @property
    def mass(self) -> float:
        return float(self._left.sum())

    def draw(self) -> int | None:
        """A token, which stays; None where nothing is left."""
        while True:
            if 2 * self._stale >= self._edges[-1]:
                self._refresh()
                if not self._edges[-1] > 0:
                    return None
            point = self._uniform(self._place) * float(self._edges[-1])
            self._place += 1
            block = int(self._edges.searchsorted(point, side="right"))
            at = self._within(block, point) if block < len(self._edges) else BLOCK
            if at < BLOCK and self._left[block, at] > 0:  # else it was gone already
                return block * BLOCK + at

    def upcoming(self, refused: int, known: Mapping[int, bool], most: int) -> list[int]:
        """Tokens that nobody knows of yet, in the order in which they are drawn if one more and all
        of them are refused, up to the first that is known to be allowed.
        """
        urn, found = copy(self), list[int]()
        urn._left, urn._sums = self._left.copy(), self._sums.copy()
        urn._inner, urn._touched = dict(self._inner), set(self._touched)
        urn.remove(refused)
        while len(found) < most:
            token = urn.draw()
            if token is None or known.get(token, False):
                break
            urn.remove(token)
            if token not in known:
                found.append(token)
        return found

    def remove(self, token: int) -> None:
        place = divmod(token, BLOCK)
        self._stale += float(self._left[place])
        self._left[place] = 0.0
        self._touched.add(place[0])

    def _within(self, block: int, point: float) -> int:
        if block not in self._inner:
            self._inner[block] = self._left[block].cumsum()
        before = float(self._edges[block - 1]) if block else 0.0
        return int(self._inner[block].searchsorted(point - before, side="right"))

    def _refresh(self) -> None:
        touched = list(self._touched)
        self._sums[touched] = self._left[touched].sum(axis=1)
        for block in touched:
            self._inner.pop(block, None)
        self._edges, self._stale = self._sums.cumsum(), 0.0
        self._touched.clear()
