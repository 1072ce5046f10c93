"""One token of a text that must fit: from the model's distribution times what guides say of it,
with an unbiased weight (Lipkin et al., arXiv 2504.05410; Loula et al., arXiv 2504.13139; dossier
S 14).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ponder.runtime import Row, Vocabulary
from ponder.strategies.fitting.rejection import Proposal, adaptive_rejection
from ponder.strategies.uniforms import Uniforms
from ponder.verifiers import Guide

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PROPOSALS = ("adaptive", "rejection", "policy", "local")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Support:
    """Tokens that have some probability, by id, and how much."""

    tokens: npt.NDArray[np.intp]
    masses: npt.NDArray[np.float64]

    def only(self, kept: npt.NDArray[np.bool_]) -> Support:
        """Those that are marked, with the mass they have."""
        return Support(tokens=self.tokens[kept], masses=self.masses[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one token is proposed."""

    proposal: str
    temperature: float
    top_p: float
    most_checks: int | None
    ahead: int

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
        import numpy as np

        support = distribution(row, self.temperature, self.top_p)
        if last:
            support = support.only(np.isin(support.tokens, sorted(vocabulary.ends)))
        if self.proposal == "policy":
            return await _weighed(support, guides, uniform)
        asked = guides
        if self.proposal != "rejection":
            support, asked = _masked(support, guides)
        found = await self._rejected(support, asked, uniform)
        local = self.proposal == "local" and found.token is not None
        return replace(found, log_weight=0.0) if local else found

    async def _rejected(
        self, support: Support, guides: Sequence[Guide], uniform: Uniforms
    ) -> Proposal:
        if not guides or not len(support.tokens):
            return _drawn(support, uniform)
        asked = _Asked(support=support, guides=guides)
        found = await adaptive_rejection(
            support.masses,
            asked.allowed,
            uniform,
            most_checks=self.most_checks,
            ahead=self.ahead,
        )
        if found.token is None:
            return found
        token, ratio = int(support.tokens[found.token]), asked.ratios[found.token]
        return Proposal(token=token, log_weight=found.log_weight + ratio, checks=found.checks)


def distribution(row: Row, temperature: float, top_p: float) -> Support:
    """What an engine draws from with these settings, of sum 1."""
    import numpy as np

    tokens = np.flatnonzero(row > -np.inf)
    logits = row[tokens].astype(np.float64)
    masses = np.exp((logits - logits.max()) / temperature)
    support = Support(tokens=tokens, masses=masses / masses.sum())
    if top_p < 1:
        order = np.argsort(-support.masses, kind="stable")
        before = support.masses[order].cumsum() - support.masses[order]
        kept = np.zeros(len(tokens), dtype=np.bool_)
        kept[order[before < top_p]] = True
        support = support.only(kept)
        support = replace(support, masses=support.masses / support.masses.sum())
    return support


def _masked(support: Support, guides: Sequence[Guide]) -> tuple[Support, list[Guide]]:
    """What masks leave of it, and the guides that have none and are to be asked."""
    asked: list[Guide] = []
    for guide in guides:
        mask = guide.mask()
        if mask is None:
            asked.append(guide)
        else:
            support = support.only(mask[support.tokens])
    return support, asked


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """What guides said of places in a support."""

    support: Support
    guides: Sequence[Guide]
    ratios: dict[int, float] = field(default_factory=dict[int, float])

    async def allowed(self, places: Sequence[int]) -> list[bool]:
        ratios = await weighed(self.guides, [int(self.support.tokens[place]) for place in places])
        self.ratios.update(zip(places, ratios, strict=True))
        return [ratio > -math.inf for ratio in ratios]


async def weighed(guides: Sequence[Guide], tokens: Sequence[int]) -> list[float]:
    """For each token, log of the product of all guides' weights; those behind one that refuses are
    not asked.
    """
    totals = dict.fromkeys(tokens, 0.0)
    for guide in guides:
        left = [token for token, total in totals.items() if total > -math.inf]
        for token, ratio in zip(left, await guide.weigh(left) if left else [], strict=True):
            totals[token] += ratio
    return list(totals.values())


def _drawn(support: Support, uniform: Uniforms) -> Proposal:
    """Exactly, by the inverse CDF over token ids; the weight is the mass there is."""
    if not len(support.tokens):
        return Proposal(token=None, log_weight=-math.inf, checks=0)
    edges = support.masses.cumsum()
    total = float(edges[-1])
    at = min(int(edges.searchsorted(uniform(0) * total, side="right")), len(edges) - 1)
    weight = min(math.log(total), 0.0)
    return Proposal(token=int(support.tokens[at]), log_weight=weight, checks=0)


async def _weighed(support: Support, guides: Sequence[Guide], uniform: Uniforms) -> Proposal:
    found = _drawn(support, uniform)
    if found.token is None:
        return found
    (ratio,) = await weighed(guides, [found.token])
    if ratio == -math.inf:
        return Proposal(token=None, log_weight=ratio, checks=1)
    return Proposal(token=found.token, log_weight=found.log_weight + ratio, checks=1)
