"""Token confidence (`runtime.confidence`) of the rows that ask for it, read off the logits they
were drawn from.

A row's value depends on that row alone: its likeliest logits are selected, not computed, and its
normaliser is the draw's, told by the drawn token's log-probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ponder.runtime.confidence import LEAST
from ponder.runtime.runners.sampler import Draw


def confidences(logits: Tensor, draws: Sequence[Draw], ks: Sequence[int]) -> list[float | None]:
    """One value a row, in nats; None where none was asked for, or nothing was drawn.

    Args:
        logits: [rows, vocabulary], as they were drawn from.
        draws: one a row.
        ks: one a row, 0 to the vocabulary; 0 asks for none.
    """
    found: list[float | None] = [None] * len(ks)
    for k in sorted({*ks} - {0}):
        rows = [i for i, each in enumerate(ks) if each == k and not draws[i].fault]
        for i, likeliest in zip(rows, _likeliest(logits, rows, k), strict=True):
            norm = float(logits[i, draws[i].token]) - draws[i].logprob
            found[i] = -float(np.maximum(likeliest - norm, LEAST).sum()) / k
    return found


def _likeliest(logits: Tensor, rows: Sequence[int], k: int) -> npt.NDArray[np.float64]:
    """The k highest logits a row, [rows, k]."""
    some = logits if len(rows) == len(logits) else logits[list(rows)]
    if k < logits.shape[1]:
        some = some.topk(k, dim=-1).values
    return cast("npt.NDArray[np.float64]", some.cpu().double().numpy())
