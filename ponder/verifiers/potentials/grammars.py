"""Grammars as potentials: a text weighs 1 or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ponder.runtime import Follower, Grammar, InputError, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammatical:
    """All texts that fit `grammar`."""

    grammar: Grammar

    def begin(self, vocabulary: Vocabulary) -> GrammarGuide:
        if not vocabulary.ends:
            raise InputError(
                "the model has no end token, so no text is ever whole; take another model"
            )
        follower = vocabulary.follow(self.grammar, ())
        return GrammarGuide(vocabulary=vocabulary, follower=follower)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrammarGuide:
    vocabulary: Vocabulary
    follower: Follower

    def mask(self) -> npt.NDArray[np.bool_] | None:
        return self.follower.marks() if self.vocabulary.masks else None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        return [0.0 if self._may(token) else -math.inf for token in tokens]

    async def after(self, token: int) -> GrammarGuide:
        if token in self.vocabulary.ends or not self._may(token):
            raise InputError(f"token {token!r} may not come; ask weigh() first")
        follower = self.follower.copy()
        follower.push(token)
        return GrammarGuide(vocabulary=self.vocabulary, follower=follower)

    def _may(self, token: int) -> bool:
        if token in self.vocabulary.ends:
            return self.follower.complete
        return bool(self.vocabulary.pieces(token)) and self.follower.fits([token])
