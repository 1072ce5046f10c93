"""The seam between what draws tokens and what a text must be (Lew et al. 2023, arXiv 2306.03081;
Loula et al. 2025, arXiv 2504.13139; dossier S 14.4).

A potential gives every text that goes on, and every whole text, a log-weight of at most 0; the
target is the model's distribution of whole texts times the weights of the whole ones. Several
potentials are their product. A guide is where one text stands under one potential.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ponder.runtime import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Guide(Protocol):
    """Where a text stands; a value: `after` gives another guide, and this one stays as it is."""

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Marks the tokens of weight above 0, [vocabulary], where one look tells them all: then all
        of them weigh the same. None where each token must be asked about (`weigh`).
        """
        ...

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        """For each of these next tokens, log of the weight of the text with it over that of the
        text so far; an end token makes the text a whole one. -inf: it may not come.

        Raises:
            InputError: the potential failed: what it was asked, and how it failed.
        """
        ...

    async def after(self, token: int) -> Guide:
        """Where the text stands with a token that may come; not an end token."""
        ...


class Potential(Protocol):
    def begin(self, vocabulary: Vocabulary) -> Guide:
        """Where the empty text stands, for a model of this vocabulary.

        Raises:
            InputError: the vocabulary cannot spell what the potential wants, or it cannot be read.
        """
        ...
