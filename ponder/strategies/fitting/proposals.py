"""One token of a text that must fit: from the model's distribution times what guides say of it,
with an unbiased weight (Lipkin et al., arXiv 2504.05410; Loula et al., arXiv 2504.13139; dossier
S 14).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ponder.runtime import Row, Vocabulary
from ponder.strategies.fitting.rejection import Proposal, adaptive_rejection
from ponder.strategies.uniforms import Uniforms
from ponder.verifiers import Guide

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Masses = npt.NDArray[np.float64]

PROPOSALS = ("adaptive", "rejection", "policy", "local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one token is proposed."""

    proposal: str
    temperature: float
    top_p: float
    most_checks: int | None

    async def draw(
        self,
        row: Row,
        guides: Sequence[Guide],
        vocabulary: Vocabulary,
        uniform: Uniforms,
        *,
        last: bool,
    ) -> Proposal:
        """A token under all guides.

        Args:
            row: the model's logits.
            guides: where the text stands under each potential.
            vocabulary: of the model.
            uniform: the draws; the first alone decides where nothing is refused.
            last: only an end token may come.
        """
        masses = distribution(row, self.temperature, self.top_p)
        if last:
            masses = _only(masses, sorted(vocabulary.ends))
        if self.proposal == "policy":
            return await _weighed(masses, guides, uniform)
        asked = guides if self.proposal == "rejection" else _masked(masses, guides)
        found = await _rejected(masses, asked, uniform, self.most_checks)
        if self.proposal == "local" and found.token is not None:
            return Proposal(token=found.token, log_weight=0.0, checks=found.checks)
        return found


def distribution(row: Row, temperature: float, top_p: float) -> Masses:
    """What an engine draws from with these settings: float64 [vocabulary], of sum 1."""
    import numpy as np

    scaled = (row.astype(np.float64) - float(row.max())) / temperature
    masses: Masses = np.exp(scaled)
    masses /= masses.sum()
    if top_p < 1:
        order = np.argsort(-masses, kind="stable")
        before = masses[order].cumsum() - masses[order]
        masses[order[before >= top_p]] = 0.0
        masses /= masses.sum()
    return masses


def _only(masses: Masses, tokens: Sequence[int]) -> Masses:
    import numpy as np

    kept = np.zeros_like(masses)
    kept[list(tokens)] = masses[list(tokens)]
    return kept


def _masked(masses: Masses, guides: Sequence[Guide]) -> list[Guide]:
    """Take the mass of what masks refuse; returns who has none, and is to be asked."""
    asked: list[Guide] = []
    for guide in guides:
        mask = guide.mask()
        if mask is None:
            asked.append(guide)
        else:
            masses[: len(mask)][~mask] = 0.0
            masses[len(mask) :] = 0.0
    return asked


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """What guides said of tokens."""

    guides: Sequence[Guide]
    ratios: dict[int, float] = field(default_factory=dict[int, float])

    async def allowed(self, token: int) -> bool:
        self.ratios[token] = total = await weighed(self.guides, token)
        return total > -math.inf


async def weighed(guides: Sequence[Guide], token: int) -> float:
    """Log of the product of all guides' weights; those behind one that refuses are not asked."""
    total = 0.0
    for guide in guides:
        (ratio,) = await guide.weigh([token])
        if ratio == -math.inf:
            return ratio
        total += ratio
    return total


async def _rejected(
    masses: Masses, guides: Sequence[Guide], uniform: Uniforms, most_checks: int | None
) -> Proposal:
    if not guides:
        return _drawn(masses, uniform)
    asked = _Asked(guides=guides)
    found = await adaptive_rejection(masses, asked.allowed, uniform, most_checks=most_checks)
    if found.token is None:
        return found
    weight = found.log_weight + asked.ratios[found.token]
    return Proposal(token=found.token, log_weight=weight, checks=found.checks)


def _drawn(masses: Masses, uniform: Uniforms) -> Proposal:
    """Exactly, by the inverse CDF; the weight is the mass there is."""
    edges = masses.cumsum()
    total = float(edges[-1])
    if not total > 0:
        return Proposal(token=None, log_weight=-math.inf, checks=0)
    at = int(edges.searchsorted(uniform(0) * total, side="right"))
    while not masses[at] > 0:  # rounding put the point on the last edge
        at -= 1
    return Proposal(token=at, log_weight=min(math.log(total), 0.0), checks=0)


async def _weighed(masses: Masses, guides: Sequence[Guide], uniform: Uniforms) -> Proposal:
    found = _drawn(masses, uniform)
    if found.token is None:
        return found
    ratio = await weighed(guides, found.token)
    if ratio == -math.inf:
        return Proposal(token=None, log_weight=ratio, checks=1)
    return Proposal(token=found.token, log_weight=found.log_weight + ratio, checks=1)
