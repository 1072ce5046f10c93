"""Seeds are paths: every random draw is a pure function of (run seed, path of the branch,
position).

No generator object exists and nothing is consumed, so a draw depends neither on what shares the
batch nor on the order in which concurrent branches run. The generator is Philox 4x32-10 (Salmon et
al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by a hash of the path and
counted by the position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds of Philox 4x32 over four 32-bit counter words and two key words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high, low = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (low >> 32) ^ c1 ^ k0, low & _WORD, (high >> 32) ^ c3 ^ k1, high & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


@dataclass(frozen=True, slots=True)
class BranchPath:
    """Where a branch hangs in a run: the run's seed and the names and indices on the way down to
    it.
    """

    seed: int
    steps: tuple[str | int, ...] = ()

    def child(self, *steps: str | int) -> BranchPath:
        return BranchPath(self.seed, (*self.steps, *steps))

    def key(self) -> tuple[int, int]:
        """The two 32-bit words that key the generator of this branch."""
        digest = blake2b(json.dumps([self.seed, *self.steps]).encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

    def uniform(self, position: int) -> float:
        """The draw at `position` (a token index): uniform on [0, 1), 53 bits."""
        return uniform(self.key(), position)

    def draws(self) -> Draws:
        """The same by position, for whoever may want many."""
        return Draws(key=self.key())

    def __str__(self) -> str:
        return "/".join(str(step) for step in (self.seed, *self.steps))


FEW, MANY = 32, 256


@dataclass(slots=True, kw_only=True)
class Draws:
    """The uniforms of a path. Whoever has come to the 32nd is after many, which are cheaper drawn
    together.
    """

    key: tuple[int, int]
    _start: int = field(default=-1, init=False)
    _drawn: Sequence[float] = field(default=(), init=False)

    def __call__(self, position: int) -> float:
        if position < FEW:
            return uniform(self.key, position)
        start = position - position % MANY
        if start != self._start:
            self._start, self._drawn = start, uniforms(self.key, start, MANY).tolist()
        return self._drawn[position - start]


def uniform(key: tuple[int, int], position: int) -> float:
    """Uniform on [0, 1) from a path's key; hot loops keep the key instead of hashing the path for
    each draw.
    """
    a, b, _, _ = philox((position & _WORD, position >> 32, 0, 0), key)
    return ((a << 21) | (b >> 11)) * 2.0**-53


def uniforms(key: tuple[int, int], start: int, count: int) -> npt.NDArray[np.float64]:
    """`uniform` of so many positions from `start` on, [count]; for 256 it takes a twelfth of the
    time that they take one by one.
    """
    import numpy as np

    word, half = np.uint64(_WORD), np.uint64(32)
    positions = np.arange(start, start + count, dtype=np.uint64)
    c0, c1 = positions & word, positions >> half
    c2 = c3 = np.zeros(count, dtype=np.uint64)
    k0, k1 = key
    for _ in range(10):
        high, low = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1 = (low >> half) ^ c1 ^ np.uint64(k0), low & word
        c2, c3 = (high >> half) ^ c3 ^ np.uint64(k1), high & word
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    bits = (c0 << np.uint64(21)) | (c1 >> np.uint64(11))
    return bits.astype(np.float64) * 2.0**-53
