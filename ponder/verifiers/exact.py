"""What can be said of two answers by arithmetic on their canonical keys, without algebra.

Answers are compared without their question, so a unit and a percent sign are taken as form: `18 cm`
is `18`, and `50%` is both `50` and `1/2`. Cents stay cents: nothing else is divided by 100. The
relation is symmetric but, as decimals are rounded, not transitive.
"""

from __future__ import annotations

import re
from fractions import Fraction

from ponder.verifiers.keys import WORDS, canonical
from ponder.verifiers.rationals import Rational, rational

SHOWN = 6
"""Decimals, and significant digits, from which on a decimal stands for all that rounds to it."""
NOISE = Fraction(1, 10**12)
"""Relative difference that floating-point arithmetic leaves."""
BASED = re.compile(r"([0-9A-Za-z]{1,200})_\{?([0-9]{1,2})\}?")
VARIABLES = frozenset("abcxyz")


def decide(a: str, b: str) -> bool | None:
    """The verdict where arithmetic or plain words give it; None where algebra is needed."""
    first, second = canonical(a), canonical(b)
    if first == second:
        return True
    left, right = rational(first), rational(second)
    if left and right:
        return agree(left, right)
    based = BASED.fullmatch(first), BASED.fullmatch(second)
    if based[0] and based[1]:
        return in_base(*based[0].groups()) == in_base(*based[1].groups())
    if (left or is_words(first)) and (right or is_words(second)):
        return False
    return None


def agree(a: Rational, b: Rational) -> bool:
    """Exactly, or as a rounding; a percent sign may be form or may mean hundredths."""
    if a.percent == b.percent:
        return near(a.value, b.value)
    percent, number = (a, b) if a.percent else (b, a)
    return near(percent.value, number.value) or near(percent.value / 100, number.value)


def near(a: Fraction, b: Fraction) -> bool:
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
