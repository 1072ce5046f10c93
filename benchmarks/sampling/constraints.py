"""Constraints of differing strictness, as functions of the bytes said so far.

Standard library only: they are read in the rival's environment too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_STRING = r'"(?:[^"\\]|\\.)*'


@dataclass(frozen=True)
class Case:
    prompt: str
    goes_on: Callable[[str], bool]
    ends: Callable[[str], bool] = bool
    """Of a text that went on."""

    def fits(self, before: bytes, spelling: bytes | None) -> bool:
        """Whether a token that is so spelt may come; half a character may not."""
        if not spelling:
            return False
        try:
            return self.goes_on((before + spelling).decode())
        except UnicodeDecodeError:
            return False

    def whole(self, text: bytes) -> bool:
        return self.ends(text.decode())


def brackets(text: str) -> bool:
    """As in SMILES: none closes that was not opened, and no letters but these."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0 or letter not in "CNOcno()=#123":
            return False
    return True


def json_begins(text: str) -> bool:
    """The beginning of an array or object of JSON, read as a person would, letter by letter."""
    open_ones, rest, expects = list[str](), text.lstrip(" \n"), "value"
    while rest:
        found = _next(rest, open_ones, expects)
        if found is None:
            return False
        taken, expects = found
        rest = rest[taken:].lstrip(" \n")
    return True


_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?|true|false|null")
_SCALAR_BEGUN = re.compile(
    r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?)?$|t(?:r(?:ue?)?)?$|f(?:a(?:l(?:se?)?)?)?$|n(?:u(?:ll?)?)?$"
)


def _next(rest: str, open_ones: list[str], expects: str) -> tuple[int, str] | None:
    """How much the next piece takes, and what is expected then; None: it cannot come."""
    first = rest[0]
    if expects in ("value", "value or close") and first in "[{":
        open_ones.append(first)
        return 1, "value or close" if first == "[" else "key or close"
    if "close" in expects and open_ones and first == {"[": "]", "{": "}"}[open_ones[-1]]:
        open_ones.pop()
        return 1, "comma or close" if open_ones else "nothing"
    if expects == "comma or close" and first == ",":
        return 1, "value" if open_ones[-1] == "[" else "key"
    if expects == "colon":
        return (1, "value") if first == ":" else None
    if first == '"' and expects != "nothing" and expects != "comma or close" and open_ones:
        return _string(rest, "colon" if expects.startswith("key") else "comma or close")
    if expects.startswith("value") and open_ones:
        return _scalar(rest)
    return None


def _string(rest: str, then: str) -> tuple[int, str] | None:
    begun = re.match(_STRING, rest, re.DOTALL)
    if begun is None or "\n" in begun.group():
        return None
    over = begun.end()
    return (over + 1, then) if rest[over : over + 1] == '"' else (len(rest), then)


def _scalar(rest: str) -> tuple[int, str] | None:
    if _SCALAR_BEGUN.match(rest):
        return len(rest), "comma or close"
    found = _SCALAR.match(rest)
    return (found.end(), "comma or close") if found and found.end() else None


CASES: Mapping[str, Case] = {
    "no letter e": Case(
        prompt="Write a short story about a dog and a man.",
        goes_on=lambda text: "e" not in text.lower(),
    ),
    "JSON": Case(
        prompt="Describe a book as a JSON object with title, author, year and a list of topics.",
        goes_on=json_begins,
        ends=lambda text: text.rstrip().endswith(("}", "]")),
    ),
    "digits": Case(
        prompt="Write the digits of pi, as many as you know.",
        goes_on=lambda text: re.fullmatch(r"[0-9]*\.?[0-9]*", text) is not None,
    ),
    "brackets": Case(
        prompt="Write a molecule in SMILES.",
        goes_on=brackets,
        ends=lambda text: text.count("(") == text.count(")"),
    ),
    "one token": Case(
        prompt="Write a short story about a dog and a man.",
        goes_on=lambda text: re.fullmatch(r"#*", text) is not None,
        ends=lambda text: False,
    ),
}
