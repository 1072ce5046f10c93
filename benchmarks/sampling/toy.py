"""A problem whose answer is known: a small language model given by tables, and texts that must fit.

Standard library only: it is read in the rival's environment too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

LETTERS = "abcd"
LONGEST = 5
"""Letters; then the model ends for certain."""
_DICE = Random(7)
_CHANCES = {
    before: [math.exp(_DICE.gauss(0, 1.5)) for _ in range(len(LETTERS) + 1)]
    for before in ("", *LETTERS)
}


def chances(text: str) -> list[float]:
    """Of each letter, and of the end, after a text."""
    if len(text) >= LONGEST:
        return [0.0] * len(LETTERS) + [1.0]
    weights = _CHANCES[text[-1:]]
    return [weight / math.fsum(weights) for weight in weights]


def goes_on(text: str) -> bool:
    return "bb" not in text


def whole(text: str) -> bool:
    """An automaton's language; some of its beginnings have no room left for an end."""
    return goes_on(text) and "d" in text and text.count("a") % 2 == 0


def texts(before: str = "", chance: float = 1.0) -> Iterator[tuple[str, float]]:
    """All whole texts of the model, with their probabilities."""
    *letters, end = chances(before)
    if end:
        yield before, chance * end
    for letter, each in zip(LETTERS, letters, strict=True):
        if each:
            yield from texts(before + letter, chance * each)


def target() -> dict[str, float]:
    """Probabilities of those that fit: their sum is the evidence."""
    return {text: chance for text, chance in texts() if whole(text)}
