"""What the scripted endpoint says, when, and what it does wrong: functions of the request and of a
seed alone.

Questions are sums. A sample is right in 7 of 10 cases; judges' prompts of the contenders are
answered in the form each expects, and rightly. A token is four characters. Standard library only.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Any

RIGHT = 0.7
_NUMBER = re.compile(r"Problem (\d+):")
_LISTED = re.compile(r"\[(\d+)\] (.*?)(?=\n\[\d+\] |\n\n|\Z)", re.DOTALL)
JUDGE = "Score the following conversation"
"""How its-hub's judge begins, and Ponder's here."""
RATING = "Rate the above response:"
"""optillm's."""
STAGED, STAGES = "Work in steps.", 7
"""A question that says this is answered in as many steps, one a request."""
RANKING = "ranks multiple answers"
"""archon's, in its system turn."""
Turn = dict[str, Any]  # Any: JSON from the network


class Fault(Enum):
    ERROR = "error"
    """Status 500."""
    HANG = "hang"
    """No reply, ever."""
    CUT = "cut"
    """Half of the JSON."""
    EMPTY = "empty"
    """No choices."""
    NULL = "null"
    """Content that is null."""
    PAGE = "page"
    """HTML with status 200."""
    TALK = "talk"
    """A judge's words without a verdict."""


MALFORMED = (Fault.CUT, Fault.EMPTY, Fault.NULL, Fault.PAGE, Fault.TALK)
TALK = "That is hard to say; both have their merits."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the endpoint behaves; shares are in [0, 1], of requests."""

    delay: float = 0.0
    """Seconds until a reply: all of them, or their median."""
    sigma: float = 0.0
    """Of the logarithm of delays; 0 is a fixed delay."""
    errors: float = 0.0
    hangs: float = 0.0
    malformed: float = 0.0
    seed: int = 0


def uniform(*parts: object) -> float:
    """In [0, 1), by the parts."""
    digest = blake2b(repr(parts).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56


def fault(settings: Settings, index: int, *, judging: bool = False) -> Fault | None:
    """What goes wrong with the request that came as number `index`."""
    kinds = MALFORMED if judging else MALFORMED[:-1]
    place = uniform(settings.seed, "fault", index)
    for share, kind in (
        (settings.errors, Fault.ERROR),
        (settings.hangs, Fault.HANG),
        (settings.malformed, None),
    ):
        if place < share:
            return kind or kinds[int(uniform(settings.seed, "kind", index) * len(kinds))]
        place -= share
    return None


def delay(settings: Settings, index: int) -> float:
    """Seconds."""
    if not settings.sigma or not settings.delay:
        return settings.delay
    normal = NormalDist().inv_cdf(max(1e-9, uniform(settings.seed, "delay", index)))
    return settings.delay * math.exp(settings.sigma * normal)


def question(number: int) -> str:
    first, second = terms(number)
    return f"Problem {number}: what is {first} plus {second}?"


@lru_cache(maxsize=4096)
def terms(number: int) -> tuple[int, int]:
    return int(uniform(number, "first") * 900) + 100, int(uniform(number, "second") * 900) + 100


def solution(number: int) -> int:
    return sum(terms(number))


def tokens(text: str) -> int:
    return -(-len(text) // 4)


def written(turns: Sequence[Turn]) -> str:
    """All turns as one text, which is what the model reads."""
    return "".join(f"<{turn.get('role')}>{turn.get('content') or ''}\n" for turn in turns)


def problem(text: str) -> int | None:
    """Which question a prompt is about."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else None


def judging(turns: Sequence[Turn]) -> bool:
    """Whether a prompt asks to judge, and not to solve."""
    first, last = turns[0].get("content") or "", turns[-1].get("content") or ""
    return last.startswith((JUDGE, RATING)) or RANKING in first


def said(turns: Sequence[Turn], text: str, seed: int | None, temperature: float) -> str:
    """The reply to a prompt; without a seed it is drawn anew each time, as models do."""
    number = problem(text)
    if judging(turns):
        return verdict(turns, number)
    chance = os.urandom(8).hex() if seed is None else str(seed)
    drawn = uniform(text, "greedy" if temperature == 0 else chance)
    if number is None:
        return " ".join(f"{int(drawn * 10**9):09d}"[i : i + 3] for i in (0, 3, 6)) + " and so on"
    if STAGED in text:
        return stage(turns, number, drawn)
    first, second = terms(number)
    value = first + second + (0 if drawn < RIGHT else 1 + int(drawn * 1000) % 7)
    return f"Add {first} and {second}.\nThe answer is \\boxed{{{value}}}"


def stage(turns: Sequence[Turn], number: int, drawn: float) -> str:
    """The next step after those in the last turn, which a blank line ends."""
    last = turns[-1].get("content") or ""
    done = last.count("\n\n") if turns[-1].get("role") == "assistant" else 0
    if done + 1 < STAGES:
        return f"Step {done + 1} looks at {int(drawn * 10**6):06d} and then goes on."
    return f"The answer is \\boxed{{{solution(number)}}}"


def verdict(turns: Sequence[Turn], number: int | None) -> str:
    right = f"boxed{{{solution(number or 0)}}}"
    last = turns[-1].get("content") or ""
    if last.startswith(JUDGE):
        return json.dumps({"score": 9 if right in last else 2, "reasoning": "sum"})
    if last.startswith(RATING):
        return "9" if right in (turns[-2].get("content") or "") else "2"
    listed = sorted(
        _LISTED.findall(last.partition("\n\nInstruction:")[0]), key=lambda one: right not in one[1]
    )
    return " > ".join(f"[{place}]" for place, _ in listed)
