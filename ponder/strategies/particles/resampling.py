"""Who survives, and how often: schemes that draw n ancestors in proportion to normalised weights
(dossier S 0.4). All are unbiased: ancestor i is drawn n w_i times in expectation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from ponder.runtime import InputError, unknown
from ponder.strategies.uniforms import Uniforms


def multinomial(shares: Sequence[float], n: int, uniform: Uniforms) -> list[int]:
    """N independent draws."""
    return _at(shares, [uniform(i) for i in range(n)])


def systematic(shares: Sequence[float], n: int, uniform: Uniforms) -> list[int]:
    """One draw, then even strides."""
    start = uniform(0)
    return _at(shares, [(start + i) / n for i in range(n)])


def stratified(shares: Sequence[float], n: int, uniform: Uniforms) -> list[int]:
    """One draw in each of n equal strata."""
    return _at(shares, [(uniform(i) + i) / n for i in range(n)])


def residual(shares: Sequence[float], n: int, uniform: Uniforms) -> list[int]:
    """floor(n w_i) copies of each; independent draws from what is left of the weights."""
    # What rounding took from a whole number is given back.
    sure = [math.floor(n * w + 1e-9) for w in shares]
    kept = [i for i, copies in enumerate(sure) for _ in range(copies)]
    left = [max(0.0, n * w - copies) for w, copies in zip(shares, sure, strict=True)]
    if len(kept) == n:
        return kept
    total = math.fsum(left)
    return kept + multinomial([x / total for x in left], n - len(kept), uniform)


SCHEMES: dict[str, Callable[[Sequence[float], int, Uniforms], list[int]]] = {
    "multinomial": multinomial,
    "systematic": systematic,
    "stratified": stratified,
    "residual": residual,
}


def check_scheme(name: str) -> None:
    if name not in SCHEMES:
        raise InputError(unknown("resampling", name, SCHEMES))


def _at(shares: Sequence[float], points: Sequence[float]) -> list[int]:
    """The ancestors whose stretches of the cumulative sum hold the points in [0, 1)."""
    edges = list(accumulate(shares))
    # The sum may end a little before 1; nobody of weight zero is drawn for it.
    last = max(i for i, w in enumerate(shares) if w > 0)
    return [min(bisect_right(edges, point), last) for point in points]
