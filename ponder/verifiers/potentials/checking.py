"""What potentials promise, tried out: for those who write one of their own (dossier S 14.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ponder.runtime import InputError, Vocabulary
from ponder.verifiers.potentials.api import Guide, Potential

NEAR = 1e-6
"""Nats by which two ways to one weight may differ."""


async def check_potential(
    potential: Potential, vocabulary: Vocabulary, texts: Iterable[Sequence[int]]
) -> None:
    """Hold `potential` to its laws along `texts`, sequences of token ids that may end with an end
    token; at each place all tokens of all texts, and the end tokens, are asked about.

    Raises:
        InputError: the first law that is broken, and where: asking twice, one by one or by the mask
            gives another weight; `after` changes the guide that it was asked of; a weight is no
            number, or above 1; a text that weighs 0 goes on to one that does not; two of the texts
            that spell the same weigh differently.
    """
    given = [tuple(text) for text in texts]
    probes = sorted({token for text in given for token in text} | vocabulary.ends)
    known = dict[tuple[bytes, bool], float]()
    for text in given:
        for token in text[:-1]:
            if token in vocabulary.ends:
                raise InputError(f"text {list(text)!r} has end token {token!r} before its end")
        walk = _Walk(vocabulary=vocabulary, text=text, probes=probes, known=known)
        await walk.check(potential)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    vocabulary: Vocabulary
    text: tuple[int, ...]
    probes: Sequence[int]
    known: dict[tuple[bytes, bool], float]
    """Log-weights by what is spelt, and whether it is whole."""

    async def check(self, potential: Potential) -> None:
        guide, total = potential.begin(self.vocabulary), 0.0
        spelt: bytes | None = b""
        for place, token in enumerate(self.text):
            ratios = await self._looked(guide, place, dead=total == -math.inf)
            total += ratios[token]
            if total > NEAR:
                self._broken(place, f"token {token!r} brings it to log-weight {total!r}, above 0")
            whole = token in self.vocabulary.ends
            spelt = self._with(spelt, token)
            if spelt is not None:
                self._same(spelt, whole, total, place)
            if whole:
                return
            onward = await self._after(guide, token, dead=total == -math.inf)
            if await self._looked(guide, place, dead=False, quick=True) != ratios:
                self._broken(place, f"after({token!r}) changed the guide that it was asked of")
            if onward is None:
                return
            guide = onward
        await self._looked(guide, len(self.text), dead=total == -math.inf)

    def _with(self, spelt: bytes | None, token: int) -> bytes | None:
        """None: a control token is in it, which no text spells."""
        spelling = b"" if token in self.vocabulary.ends else self.vocabulary.spelling(token)
        return None if spelt is None or spelling is None else spelt + spelling

    async def _after(self, guide: Guide, token: int, *, dead: bool) -> Guide | None:
        """None: the guide refuses to go on with a token that may not come, as it may."""
        try:
            return await guide.after(token)
        except InputError:
            if dead:
                return None
            raise

    async def _looked(
        self, guide: Guide, place: int, *, dead: bool, quick: bool = False
    ) -> dict[int, float]:
        ratios = await self._weighed(guide, place)
        if quick:
            return ratios
        for token, ratio in ratios.items():
            if math.isnan(ratio) or ratio == math.inf:
                self._broken(
                    place, f"token {token!r} has {ratio!r}; a log-ratio is a number below inf"
                )
        if await self._weighed(guide, place) != ratios:
            self._broken(place, "asking twice gives different weights")
        for token, ratio in ratios.items():
            (alone,) = await guide.weigh([token])
            if alone != ratio:
                self._broken(
                    place, f"token {token!r} has {ratio!r} among others, and {alone!r} alone"
                )
            if dead and ratio > -math.inf:
                self._broken(place, f"it weighs 0, but goes on with token {token!r} at {ratio!r}")
        self._masked(guide, place, ratios)
        return ratios

    async def _weighed(self, guide: Guide, place: int) -> dict[int, float]:
        ratios = await guide.weigh(self.probes)
        if len(ratios) != len(self.probes):
            self._broken(
                place, f"weigh() gave {len(ratios)!r} weights for {len(self.probes)!r} tokens"
            )
        return dict(zip(self.probes, ratios, strict=True))

    def _masked(self, guide: Guide, place: int, ratios: dict[int, float]) -> None:
        mask = guide.mask()
        if mask is None:
            return
        if mask.shape != (self.vocabulary.size,):
            self._broken(place, f"the mask is {mask.shape!r}; it must be [vocabulary]")
        again = guide.mask()
        if again is None or (again != mask).any():
            self._broken(place, "asking twice gives different masks")
        for token, ratio in ratios.items():
            marked = bool(mask[token]) if token < self.vocabulary.size else False
            if marked != (ratio > -math.inf):
                self._broken(place, f"token {token!r}: the mask says {marked}, weigh() {ratio!r}")
        finite = [ratio for ratio in ratios.values() if ratio > -math.inf]
        if finite and max(finite) - min(finite) > NEAR:
            self._broken(place, "the mask marks tokens of different weights; give None instead")

    def _same(self, spelt: bytes, whole: bool, total: float, place: int) -> None:
        before = self.known.setdefault((spelt, whole), total)
        if before != total and not abs(before - total) <= NEAR:
            self._broken(
                place, f"{spelt!r} has log-weight {total!r} here, {before!r} in other tokens"
            )

    def _broken(self, place: int, what: str) -> None:
        raise InputError(
            f"the potential breaks a law after tokens {list(self.text[:place])}: {what}"
        )
