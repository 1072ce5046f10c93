"""Random choices for one word problem, each a pure function of (seed, difficulty, index, how many
came before it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ponder.runtime import BranchPath

T = TypeVar("T")


class Draw:
    """Reads the counter-based stream of one path from its start."""

    def __init__(self, path: BranchPath) -> None:
        self._path = path
        self._position = 0

    def integer(self, low: int, high: int) -> int:
        """Uniform on low, ..., high, both included."""
        point = self._path.uniform(self._position)
        self._position += 1
        return low + int(point * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def chance(self) -> bool:
        """Heads or tails."""
        return self.integer(0, 1) == 1

    def some(self, options: Sequence[T], n: int) -> list[T]:
        """`n` different places of `options`, in random order."""
        left = list(options)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(n)]
