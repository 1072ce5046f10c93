"""A policy and a verifier with a known optimum, on the scripted engine: three letters a step, three
steps, and a reward that knows which letters are good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product

from ponder.runtime import BranchPath, ScriptedEngine

GOOD = {"a": 0.9, "b": 0.6, "c": 0.2}
"""How good a letter is; a path is as good as its letters on average."""


def climb(prompt: str) -> Mapping[str, float]:
    """The better a letter, the rarer: sampling finds the best path once in a thousand."""
    likely = {"a": 0.1, "b": 0.3, "c": 0.6}
    return {
        f"{x}\n\n{y}\n\n{z}\\boxed{{{x}{y}{z}}}": likely[x] * likely[y] * likely[z]
        for x, y, z in product("abc", repeat=3)
    }


def reward(text: str) -> tuple[float, ...]:
    """Of the letters so far."""
    said = text.rsplit("assistant: ", 1)[1].split("\\boxed")[0]
    good = [GOOD[letter] for letter in said if letter in GOOD]
    return (math.fsum(good) / len(good) if good else 0.0,)


def climber(
    delay: Callable[[BranchPath, int], float] | None = None,
    head: Callable[[str], tuple[float, ...]] = reward,
    script: Callable[[str], Mapping[str, float]] = climb,
) -> ScriptedEngine:
    return ScriptedEngine(script, delay=delay, heads={"score": head})
