"""Whether two final answers mean the same: exact paths first, math-verify in a child process after.

It compares answers without their question, so a unit, a missing base and a percent sign are taken
as form: `18 cm` is `18`, `52_8` is `52`, and `50%` is both `50` and `1/2`. Cents stay cents: nothing
else is ever divided by 100. The relation is symmetric where it is decided exactly, but, as decimals
are rounded, not transitive.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec

from ponder.runtime import InputError, ModelError
from ponder.verifiers.keys import WORDS, canonical
from ponder.verifiers.math_process import MathProcess, ProcessFailed
from ponder.verifiers.notation import tidy
from ponder.verifiers.rationals import Rational, rational

SHOWN = 6
"""Decimals, and significant digits, from which on a decimal stands for all that rounds to it."""
NOISE = Fraction(1, 10**12)
"""Relative difference that floating-point arithmetic leaves."""
LONGEST = 10_000
"""Characters of an answer that is still given to math-verify."""
BASED = re.compile(r"([0-9A-Fa-f]{1,200})_([0-9]{1,2})")
VARIABLES = frozenset("abcxyz")


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceCounts:
    """What became of the comparisons. The last three kinds had the verdict "not the same"."""

    asked: int = 0
    exact: int = 0
    """Decided without the child process."""
    checked: int = 0
    """Decided by math-verify."""
    timeouts: int = 0
    crashes: int = 0
    """The child ran out of memory, broke down or was killed from outside."""
    too_long: int = 0


class ExactEquivalence:
    """The exact paths alone, for an install without math-verify: what they leave open differs."""

    async def same(self, a: str, b: str) -> bool:
        return decide(a, b) is True


class MathEquivalence:
    """Exact paths, then math-verify in a child process with a deadline and a memory limit.

    The child starts at the first comparison that needs it, lives until `close`, and is replaced when
    it hangs or breaks down; concurrent callers wait for each other. One event loop at a time.
    """

    def __init__(
        self, *, deadline: float = 5.0, memory: int = 2 * 2**30, start_deadline: float = 60.0
    ) -> None:
        """`deadline` and `start_deadline` in seconds, for one comparison and for loading the
        library; `memory` in bytes.

        Raises:
            InputError: math-verify is not installed, or a limit is not positive.
        """
        for name, value in (
            ("deadline", deadline),
            ("memory", memory),
            ("start_deadline", start_deadline),
        ):
            if not value > 0:
                raise InputError(f"{name} is {value!r}; it must be above 0")
        if find_spec("math_verify") is None:
            raise InputError(
                "MathEquivalence needs the package 'math-verify', which is not installed; "
                "run pip install 'ponder[evals]', or use ExactEquivalence"
            )
        self._deadline = deadline
        self._memory = memory
        self._start_deadline = start_deadline
        self._process: MathProcess | None = None
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._counts = EquivalenceCounts()

    @property
    def counts(self) -> EquivalenceCounts:
        return self._counts

    async def same(self, a: str, b: str) -> bool:
        """`a` is the reference: math-verify reads an assignment or interval by it.

        Raises:
            ModelError: The child process cannot be started.
        """
        self._count("asked")
        verdict = decide(a, b)
        if verdict is not None:
            self._count("exact")
            return verdict
        if max(len(a), len(b)) > LONGEST:
            self._count("too_long")
            return False
        async with self._lock():
            return await self._check(tidy(a), tidy(b))

    async def close(a: Fraction, b: Fraction) -> bool:
    """Equal, or one is a decimal that the other rounds to, with enough digits to mean it."""
    if a == b:
        return True
    decimals = sorted((shown, x) for x in (a, b) if (shown := places(x)) is not None)
    if not decimals:
        return False
    shown, decimal = decimals[0]
    digits = abs(decimal) * 10**shown
    return abs(a - b) <= NOISE * abs(decimal) or (
        shown >= SHOWN and digits >= 10 ** (SHOWN - 1) and 2 * abs(a - b) * 10**shown <= 1
    )


def places(value: Fraction) -> int | None:
    """Decimals that write `value` out; None where none do."""
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def in_base(digits: str, base: str) -> int | str:
    """The value, or the text where these are not digits of that base."""
    try:
        return int(digits, int(base))
    except ValueError:
        return f"{digits}_{base}"


def is_words(key: str) -> bool:
    """Whether letters are words and not a product of variables, which algebra would reorder."""
    longest = max(re.findall(r"[^\W\d_]+", key), key=len, default="")
    return bool(WORDS.fullmatch(key)) and len(longest) > 2 and not set(longest) <= VARIABLES
