"""RoPE scalings as what they are in the end: a divisor for each rotary pair's frequency, and YaRN's
amplitude.

Position interpolation ("linear"; Chen et al., arXiv 2306.15595), the scaling of Llama 3.1
("llama3"), and YaRN (Peng et al., arXiv 2309.00071), with the rounding and the defaults of
transformers 5. Scalings that change with the length of the text (dynamic, longrope) are not here:
a cached key would be wrong as soon as they switch. Knows no file format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ponder.runtime.errors import InputError
from ponder.runtime.models.config import RopeScaling

KINDS: Final = ("linear", "llama3", "yarn")
MOST_HEAD_DIM: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """What a model's file says of its rotary positions."""

    theta: float
    context_length: int
    """Tokens; YaRN stretches it where the file gives the length before stretching."""
    scaling: RopeScaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What every scaling starts from; `where` names the file in errors."""

    theta: float
    head_dim: int
    where: str

    def __post_init__(self) -> None:
        # Theta 1 has one frequency for all pairs: no scaling can tell them apart.
        self.check(1 < self.theta < math.inf, f"rope_theta {self.theta!r}", "above 1, finite")
        # A damaged width must not become a table of its length.
        self.check(
            2 <= self.head_dim <= MOST_HEAD_DIM,
            f"head_dim {self.head_dim}",
            f"2 to {MOST_HEAD_DIM}",
        )

    def check(self, holds: bool, found: str, wanted: str) -> None:
        if not holds:
            raise InputError(f"{self.where}: rope scaling with {found}; it must be {wanted}")

    @property
    def frequencies(self) -> list[float]:
        """Radians a position, one a pair."""
        return [self.theta ** (-2 * i / self.head_dim) for i in range(self.head_dim // 2)]


def unsupported(kind: object, where: str) -> InputError:
    return InputError(
        f"{where}: rope scaling {kind!r} is not supported; known: {', '.join(KINDS)}; take a model "
        "with one of these or without rope scaling"
    )


def linear(basis: Basis, factor: float) -> RopeScaling:
    """Positions divided by `factor`."""
    _check_factor(basis, factor)
    return RopeScaling(kind="linear", divisors=(factor,) * (basis.head_dim // 2))


def llama3(basis: Basis, *, factor: float, low: float, high: float, original: float) -> RopeScaling:
    """Pairs that turn less than `low` times within `original` tokens are divided by `factor`, those
    that turn more than `high` times are left, those between are blended.
    """
    _check_factor(basis, factor)
    basis.check(0 < low < high < math.inf, f"low_freq_factor {low!r}", f"0 to {high!r}, exclusive")
    basis.check(0 < original < math.inf, f"original length {original!r}", "above 0")
    turns = [original * f / (2 * math.pi) for f in basis.frequencies]
    kept = [min(max((t - low) / (high - low), 0.0), 1.0) for t in turns]
    return RopeScaling(kind="llama3", divisors=_blend(kept, factor))


def yarn(
    basis: Basis,
    *,
    factor: float,
    original: float,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    amplitude: float | None = None,
) -> RopeScaling:
    """A linear ramp over the pairs: from those that turn `beta_fast` times within `original`
    tokens, which are left, to those that turn `beta_slow` times, which are divided by `factor`.

    `truncate` rounds the ramp's ends outwards to whole pairs; `amplitude` None is the paper's.
    """
    _check_factor(basis, factor)
    basis.check(0 < original < math.inf, f"original length {original!r}", "above 0")
    for name, beta in (("beta_fast", beta_fast), ("beta_slow", beta_slow)):
        basis.check(0 < beta < math.inf, f"{name} {beta!r}", "above 0")
    amplitude = yarn_amplitude(factor) if amplitude is None else amplitude
    basis.check(0 < amplitude < math.inf, f"attention_factor {amplitude!r}", "above 0")
    low, high = (_pair(basis, original, beta) for beta in (beta_fast, beta_slow))
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0.0), min(high, basis.head_dim - 1.0)
    width = high - low or 0.001
    ramp = [min(max((i - low) / width, 0.0), 1.0) for i in range(basis.head_dim // 2)]
    kept = [1 - part for part in ramp]
    return RopeScaling(kind="yarn", divisors=_blend(kept, factor), amplitude=amplitude)


def yarn_amplitude(factor: float, weight: float = 1.0) -> float:
    """The paper's equation 15, as a factor of cosines and sines."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _pair(basis: Basis, original: float, turns: float) -> float:
    """The (fractional) pair that turns so often within `original` tokens."""
    ratio = math.log(original / (turns * 2 * math.pi)) / (2 * math.log(basis.theta))
    return basis.head_dim * ratio


def _blend(kept: list[float], factor: float) -> tuple[float, ...]:
    """Divisors that keep the given part of each frequency and divide the rest by `factor`."""
    return tuple(1 / ((1 - part) / factor + part) for part in kept)


def _check_factor(basis: Basis, factor: float) -> None:
    basis.check(1 <= factor < math.inf, f"factor {factor!r}", "a number from 1")
