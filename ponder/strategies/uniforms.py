"""The draws of one decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ponder.runtime.seeds import uniform, uniforms

Uniforms: TypeAlias = Callable[[int], float]
"""The k-th of them, in [0, 1)."""

FEW, MANY = 32, 256


@dataclass(slots=True)
class Draws:
    """`Uniforms` of a path's key. Whoever has come to the 32nd is after many, which are cheaper
    drawn together.
    """

    key: tuple[int, int]
    _start: int = -1
    _drawn: Sequence[float] = ()

    def __call__(self, k: int) -> float:
        if k < FEW:
            return uniform(self.key, k)
        start = k - k % MANY
        if start != self._start:
            self._start, self._drawn = start, uniforms(self.key, start, MANY).tolist()
        return self._drawn[k - start]
