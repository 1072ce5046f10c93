"""A model that knows how good its beginnings are: asked behind any of them whether to start again,
it says No with a probability that the test sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

from ponder.runtime import BranchPath, ScriptedEngine
from ponder.verifiers import step_verifier_kind

PROBE = "\n\nWould starting again from the question do better than this? Yes or No: "
REPLIES = {
    "ab, so \\boxed{1}": 0.4,
    "acc, so \\boxed{2}": 0.3,
    "b": 0.1,
    "bad, I think so, \\boxed{3}": 0.2,
}
EXTRA = step_verifier_kind("restart").extra_tokens


def sure(text: str) -> float:
    """More so of what holds an a, b or c early on; different for all that the tests compare."""
    weights = {"a": 0.5, "b": 0.3, "c": 0.1}
    return math.fsum(weights.get(letter, 0.0) * 0.5**i for i, letter in enumerate(text[:8]))


def doubting(
    replies: Mapping[str, float] = REPLIES, no: Callable[[str], float | None] = sure
) -> Callable[[str], Mapping[str, float]]:
    """`no` gives None where neither word is to be said."""

    @cache
    def said() -> dict[str, float]:
        all_of_it = dict(replies)
        for beginning in {reply[:end] for reply in replies for end in range(len(reply) + 1)}:
            probability = no(beginning)
            words = {"Well": 1.0} if probability is None else {"No": probability}
            if probability is not None:
                words["Yes"] = 1 - probability
            # So rarely that it is never drawn unasked.
            all_of_it |= {beginning + PROBE + word: 1e-15 * p for word, p in words.items()}
        return all_of_it

    return lambda prompt: said()


def doubter(
    delay: Callable[[BranchPath, int], float] | None = None,
    replies: Mapping[str, float] = REPLIES,
    no: Callable[[str], float | None] = sure,
) -> ScriptedEngine:
    return ScriptedEngine(doubting(replies, no), delay=delay)
