"""What judges are asked, all of them, and how their replies are read: one form a reply, and nothing
guessed.

Candidates are shown without a word of who wrote them, long ones without their middle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ponder.runtime import Message
from ponder.verifiers.api import Question

LONGEST = 8000
"""Characters of a candidate that a judge is shown."""
_CUT = "\n[... the middle is left out ...]\n"

GRADE = (
    "Check the solution step by step. Then end with one line that says\nScore: N\nwhere N is a "
    "number from 0 (certainly wrong) to 10 (certainly right)."
)
VERDICT = (
    "Check the solution step by step. Is its final answer correct? End with one line that says\n"
    "Verdict: Yes\nor\nVerdict: No"
)
BETTER = (
    "Compare the two solutions step by step. Which one is more likely to be correct? End with one "
    "line that says\nBetter: 1\nor\nBetter: 2"
)
RANKING = (
    "Rank all {n} solutions from the one most likely to be correct to the least likely. The first "
    "line of your reply is their numbers in that order, each once, with > between them, as in "
    "2 > 1 > 3, and nothing else."
)
PICK = (
    "Compare the final answers of these {n} responses. Which response agrees with most of the "
    "others? Name one, and end your reply with its number, as in\nResponse 1"
)
CORRECT = "Is the final answer of this solution correct? Reply with Yes or No."
SOUND = "\n\nIs every step of this solution so far correct? "
RESTART = "\n\nWould starting again from the question do better than this? Yes or No: "
STEP = "\n\nHow good is the last step above, from 0 (wrong) to 10 (certainly right)? Rating:"

MOST_WORDS = 640
"""Characters, and so tokens at most, of the longest wording around question and candidates, with
what a chat template puts around a turn.
"""
MOST_LABEL = 64
"""The same for what is around one candidate."""

_NUMBER = r"(\d{1,2}(?:\.\d{1,4})?)(?:[ \t]*/[ \t]*10)?"
_SCORE = re.compile(rf"^[ \t*_#>-]*score[ \t*_]*:[ \t*_]*{_NUMBER}[ \t*_.]*$", re.I | re.M)
_VERDICT = re.compile(r"^[ \t*_#>-]*verdict[ \t*_]*:[ \t*_]*(yes|no)[ \t*_.]*$", re.I | re.M)
_BETTER = re.compile(r"^[ \t*_#>-]*better[ \t*_]*:[ \t*_]*([12])[ \t*_.]*$", re.I | re.M)
_RANKING = re.compile(r"\[?\d{1,3}\]?(?:\s*>\s*\[?\d{1,3}\]?)*\.?")
_INTEGER = re.compile(r"[0-9]+")
_RATING = re.compile(rf"\s*{_NUMBER}\.?\s*")


def about(
    question: Question,
    solutions: Sequence[str],
    request: str,
    *,
    name: str = "Solution",
    longest: int = LONGEST,
) -> tuple[Message, ...]:
    """The conversation so far, then the question, its solutions by this name and what is wanted."""
    shown = [shortened(text.strip(), longest) for text in solutions]
    names = [name] if len(shown) == 1 else [f"{name} {i}" for i in range(1, len(shown) + 1)]
    blocks = [f"{each}:\n---\n{text}\n---" for each, text in zip(names, shown, strict=True)]
    content = "\n\n".join([f"Question:\n{question.text}", *blocks, request])
    return (*question.history, Message(role="user", content=content))


def shortened(text: str, most: int) -> str:
    """Without its middle, where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    half = (most - len(_CUT)) // 2
    return f"{text[:half]}{_CUT}{text[-half:]}"


def read_grade(reply: str) -> float | None:
    """In [0, 1]."""
    said = _one(_SCORE, reply)
    return _tenth(said) if said is not None else None


def read_verdict(reply: str) -> bool | None:
    said = _one(_VERDICT, reply)
    return None if said is None else said == "yes"


def read_better(reply: str) -> int | None:
    """0 for the first, 1 for the second."""
    said = _one(_BETTER, reply)
    return None if said is None else int(said) - 1


def read_ranking(reply: str, n: int) -> list[int] | None:
    """Places of the `n` solutions, from 0, best first; None unless each is named once."""
    first = next(iter(reply.strip().splitlines()), "").strip(" *_`")
    if not _RANKING.fullmatch(first):
        return None
    order = [int(number) - 1 for number in re.findall(r"\d+", first)]
    return order if sorted(order) == list(range(n)) else None


def read_pick(reply: str, n: int) -> tuple[int | None, str | None]:
    """The place, from 0, that the last integer of a reply names, or why it names none of `n`."""
    numbers = _INTEGER.findall(reply)
    if not numbers:
        return None, f"no number in the reply, which ends with {reply[-60:]!r}"
    last = numbers[-1]
    # Python refuses to read numbers of thousands of digits.
    if len(last) > 9 or not 1 <= int(last) <= n:
        return None, f"the reply names {last[:20]} of {n}"
    return int(last) - 1, None


def read_rating(reply: str) -> float | None:
    """In [0, 1], from a reply that is a number and nothing else."""
    match = _RATING.fullmatch(next(iter(reply.strip().splitlines()), ""))
    return _tenth(match[1]) if match else None


def _one(form: re.Pattern[str], reply: str) -> str | None:
    """What the reply says in this form; None where it says nothing, or now this, now that."""
    said = {match[1].lower() for match in form.finditer(reply)}
    return said.pop() if len(said) == 1 else None


def _tenth(number: str) -> float | None:
    value = float(number)
    return value / 10 if value <= 10 else None
