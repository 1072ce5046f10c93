"""Reads a plain number as an exact rational: integers, decimals, fractions, mixed numbers,
scientific notation, percents, money, and numbers with a unit word after them.

A scanner of its own on bounded text: nothing is evaluated, and no number is built that is much
longer than its text. It knows no variables, roots or arithmetic. Units are dropped, not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ponder.verifiers.notation import NOT_A_UNIT

LONGEST = 1000
"""Characters; a longer text is no number here."""
STEEPEST = 300
"""Largest power of ten that is written out."""

WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
DECIMAL = rf"(?:{WHOLE}(?:\.[0-9]*)?|\.[0-9]+)"
SIGNED = rf"[-+]?\s?{DECIMAL}"
NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s?(?P<money>(?:US)?\$|\u00a3|\u20ac|USD )?\s?(?P<sign2>[-+]?)"
    rf"(?:\(?(?P<tex>(?P<whole>{WHOLE})?\s?\\frac\{{\s?(?P<over>{SIGNED})\s?\}}"
    rf"\{{\s?(?P<under>{SIGNED})\s?\}})\)?"
    rf"|(?P<mixed>{WHOLE}) (?P<part>[0-9]+)\s?/\s?(?P<parts>[0-9]+)"
    rf"|(?P<top>{DECIMAL})\s?/\s?(?P<bottom>{SIGNED})"
    rf"|(?P<head>{DECIMAL})(?:[eE](?P<e>[-+]?[0-9]+)|\s?[*x]\s?10\s?\^\s?(?P<p>\{{?[-+]?[0-9]+\}}?))?"
    rf"|10\s?\^\s?(?P<power>\{{?[-+]?[0-9]+\}}?))"
)
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PERCENT = re.compile(r"\s?(?:%|percent|per cent)", re.IGNORECASE)
UNIT = re.compile(
    r"[mcdk]?m/s|[mcdk]m|k?m/h|k[mp]h|mph|ft|yd|mi|[km]g|lbs?|oz|[mc]l|secs?|mins?|hrs?|usd|eur|gbp|sq|cu"
)
WORD = re.compile(r"(?=.*[aeiouy])[a-z]{3,30}|of|in|per")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rational:
    """A number as it is meant: 50 % is the value 50 with `percent`."""

    value: Fraction
    percent: bool

    def __str__(self) -> str:
        return f"{self.value}{'%' if self.percent else ''}"


@lru_cache(maxsize=1024)  # votes ask of the same few answers again and again
def rational(text: str) -> Rational | None:
    """The number that `text`, in the notation of `plain`, is; None when it is not just a number."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    match = NUMBER.match(text)
    if match is None:
        return None
    value, rest = magnitude(match), text[match.end() :]
    if value is None:
        return None
    if (match["sign"] == "-") != (match["sign2"] == "-"):
        value = -value
    percent = PERCENT.match(rest)
    if percent:
        rest = rest[percent.end() :]
    scale, rest = scaled(rest)
    if rest.strip() and not is_unit(rest):
        return None
    return Rational(value=value * scale, percent=percent is not None)


def magnitude(match: re.Match[str]) -> Fraction | None:
    """Without its sign; None for a division by zero or a power too steep."""
    if match["tex"]:
        whole = fraction(match["whole"] or "0")
        part = ratio(match["over"], match["under"])
        return None if part is None else whole + part
    if match["mixed"]:
        part = ratio(match["part"], match["parts"])
        return None if part is None else fraction(match["mixed"]) + part
    if match["top"]:
        return ratio(match["top"], match["bottom"])
    exponent = int((match["e"] or match["p"] or match["power"] or "0").strip("{}")[:9])
    if abs(exponent) > STEEPEST:
        return None
    return fraction(match["head"] or "1") * Fraction(10) ** exponent


def fraction(text: str) -> Fraction:
    digits = text.replace(",", "").replace(" ", "").rstrip(".")
    return Fraction(digits)


def ratio(over: str, under: str) -> Fraction | None:
    divisor = fraction(under)
    return fraction(over) / divisor if divisor else None


def scaled(rest: str) -> tuple[int, str]:
    word, _, after = rest.strip().partition(" ")
    scale = SCALES.get(word.lower())
    return (1, rest) if scale is None else (scale, f" {after}")


def is_unit(rest: str) -> bool:
    """Whether what follows a number only says what it counts."""
    words = re.sub(r"\^[0-9]|[().]", "", rest.lower()).split()
    if not words or len(words) > 4 or NOT_A_UNIT.search(rest):
        return False
    if not rest.startswith(" ") and not UNIT.fullmatch(words[0]):
        return False
    return all(UNIT.fullmatch(word) or WORD.fullmatch(word) for word in words)
