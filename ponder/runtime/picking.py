"""Tokens picked by whoever asks, not drawn by an engine: what `Branch.draw` takes and gives."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from operator import index
from typing import TYPE_CHECKING, TypeAlias

from ponder.runtime.errors import InputError
from ponder.runtime.values import Finish, Segment, Usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Row: TypeAlias = "npt.NDArray[np.float32]"
"""Logits of the next token as the model gives them, [vocabulary]: no temperature, no bias."""
Choose: TypeAlias = Callable[[Row], Awaitable[int | None]]
"""Picks the next token; None where none may come."""

FULL = Segment(text="", tokens=(), logprobs=(), finish=Finish.LENGTH, usage=Usage())
"""Of a branch that has no room for a token."""


def picked(
    token: int | None, row: Row, ends: Collection[int], spell: Callable[[Sequence[int]], str]
) -> Segment:
    """What came of a pick: one token, or nothing, charged as looked at.

    Raises:
        InputError: no token of the model's was picked.
    """
    if token is None:
        looked = Usage(scored=1)
        return Segment(text="", tokens=(), logprobs=(), finish=Finish.STOP, usage=looked)
    token = _plain(token, len(row))
    over = token in ends
    return Segment(
        text="" if over else spell([token]),
        tokens=(token,),
        logprobs=(logprob(row, token),),
        finish=Finish.EOS if over else Finish.LENGTH,
        usage=Usage(decoded=1),
    )


def _plain(token: int, size: int) -> int:
    """The id as Python's own number, where numpy's came: journals go into JSON."""
    try:
        plain = index(token)
    except TypeError:
        plain = -1
    if not 0 <= plain < size:
        raise InputError(f"token {token!r} was picked; the model's ids are 0 to {size - 1}")
    return plain


def logprob(row: Row, token: int) -> float:
    """Under the model's own distribution."""
    import numpy as np

    top = float(row.max())
    kept = row if row.min() > -np.inf else row[row > -np.inf]  # few of many, on a script
    shifted = kept - np.float32(top)
    mass = float(np.exp(shifted, out=shifted).sum(dtype=np.float64))
    return min(float(row[token]) - top - math.log(mass), 0.0)
