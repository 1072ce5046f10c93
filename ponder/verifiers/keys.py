"""The canonical key of an answer: equal keys mean the same answer, at the cost of a scan.

Numbers become exact rationals (`3/2`, `50%`), collections are read element by element, plain words
lose their case. It does no algebra: two equal expressions may well have different keys, and then
`equivalence` decides. Keys are for comparing, and readable, but not for typesetting.
"""

from __future__ import annotations

import re

from ponder.verifiers.notation import plain
from ponder.verifiers.rationals import rational

LONGEST = 2000
"""Characters; of a longer answer only the white space is made uniform."""
DEEPEST = 20
"""Brackets within brackets that are read; deeper ones stay text."""
PASSES = 5

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}")
OPENING, CLOSING = "([{", ")]}"
MATRIX = re.compile(r"\\begin\{[pb]?matrix\}(.*)\\end\{[pb]?matrix\}", re.DOTALL)
ASSIGNED = re.compile(r"[A-Za-z]\s?(?:=|\\in(?![A-Za-z]))\s?(.*)", re.DOTALL)
INFINITY = re.compile(r"\+?\s?(?:\\infty(?![A-Za-z])|infinity|(?<![A-Za-z\\])oo(?![A-Za-z]))")
CONJUNCTION = re.compile(r"(?:^| )(?:and|or) ")
WORDS = re.compile(r"[^\W\d_]+(?:[ '.,;:!?&-]+[^\W\d_]+)*[ .,;:!?]*")


def canonical(answer: str) -> str:
    """A key for grouping votes; the key of a key is itself."""
    key = answer
    for _ in range(PASSES):
        if INTEGER.fullmatch(key):  # by far the most common answer
            return key
        if len(key) > LONGEST:
            return " ".join(key.split())
        last, key = key, key_of(plain(key), 0)
        if key == last:
            return key
    return " ".join(answer.split())


def key_of(text: str, depth: int) -> str:
    text = text.strip()
    number = rational(text)
    if number is not None:
        return str(number)
    if depth > DEEPEST:
        return text
    for read in (matrix, union, bracketed, listed) + (() if depth else (assigned,)):
        key = read(text, depth + 1)
        if key is not None:
            return key
    return wording(text)


def matrix(text: str, depth: int) -> str | None:
    found = MATRIX.fullmatch(text)
    if not found:
        return None
    rows = [row.split("&") for row in found[1].strip().removesuffix(r"\\").split(r"\\")]
    return enclose("[]", [enclose("[]", [key_of(cell, depth) for cell in row]) for row in rows])


def union(text: str, depth: int) -> str | None:
    parts = split(text, r"\cup")
    if len(parts) < 2:
        return None
    return r"\cup".join(sorted({key_of(part, depth) for part in parts}))


def bracketed(text: str, depth: int) -> str | None:
    """Tuples and intervals keep their brackets and order; a set is sorted, each element once."""
    body = text.replace(r"\{", "{").replace(r"\}", "}")
    if not (body and body[0] in OPENING and body[-1] in CLOSING) or closes(body) != len(body) - 1:
        return None
    parts = split(body[1:-1], ",")
    keys = [key_of(part, depth) for part in parts]
    if body[0] == "{":
        keys = sorted(set(keys))
    elif body[0] == "(" and len(keys) == 1:
        return keys[0] if body[-1] == ")" and re.fullmatch(r"-?[\w/]+", keys[0]) else None
    return enclose(body[0] + body[-1], keys)


def listed(text: str, depth: int) -> str | None:
    """Several values without brackets are a set; "and" and "or" part numbers as a comma does."""
    parts = split(text, ",")
    if not all(part.strip() for part in parts):
        return None
    pieces = [piece for part in parts for piece in CONJUNCTION.split(part) if piece.strip()]
    if len(parts) == 1 and (len(pieces) < 2 or any(rational(piece) is None for piece in pieces)):
        return None
    return enclose("{}", sorted({key_of(piece, depth) for piece in pieces}))


def assigned(text: str, depth: int) -> str | None:
    """`x = 5` and `x in (0, 1)` say their right-hand side; other equations are expressions."""
    found = ASSIGNED.fullmatch(text)
    if not found:
        return None
    number = rational(found[1])
    if number is not None:
        return str(number)
    return union(found[1], depth) or bracketed(found[1], depth)


def wording(text: str) -> str:
    text = INFINITY.sub(r"\\infty", text)
    if WORDS.fullmatch(text):
        return " ".join(text.casefold().rstrip(" .,;:!?").split())
    # Space between two digits is meaning; any other is habit.
    return re.sub(r"(?<![0-9]) | (?![0-9])", "", text)


def enclose(brackets: str, keys: list[str]) -> str:
    return brackets[0] + ",".join(keys) + brackets[1]


def split(text: str, separator: str) -> list[str]:
    """At separators outside of all brackets."""
    parts, depth, start = list[str](), 0, 0
    for at, character in enumerate(text):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0 and text.startswith(separator, at):
            parts.append(text[start:at])
            start = at + len(separator)
    return [*parts, text[start:]]


def closes(text: str) -> int | None:
    """Where the bracket that `text` begins with is closed. Any closing bracket will do: (0, 1]."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0:
            return at
    return None
