"""How much two texts have in common, as F1 over their words: ROUGE-1 and ROUGE-L (Lin 2004, "ROUGE:
a package for automatic evaluation of summaries"). Symmetric, in [0, 1].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

Words = Sequence[str]

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case; none of a text without."""
    return _WORD.findall(text.casefold())


def rouge_1(a: Words, b: Words) -> float:
    """Words in common, as often as both have them; 0 where one has none."""
    return _f1((Counter(a) & Counter(b)).total(), a, b)


def rouge_l(a: Words, b: Words) -> float:
    """The longest common subsequence of words; 0 where one has none."""
    return _f1(longest_common(a, b), a, b)


def longest_common(a: Words, b: Words) -> int:
    """Length of the longest common subsequence.

    A row of the table is one integer, whose zero bits are the places of `a` where the length rises
    (Hyyro 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        met = row & places.get(word, 0)
        row = (row + met | row - met) & full
    return len(a) - row.bit_count()


OVERLAPS: dict[str, Callable[[Words, Words], float]] = {"rouge1": rouge_1, "rougeL": rouge_l}


def _f1(common: int, a: Words, b: Words) -> float:
    return 2 * common / (len(a) + len(b)) if common else 0.0
