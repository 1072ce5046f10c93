"""Says why a call is not on record: what is there that comes near it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ponder.runtime.errors import NotRecorded
from ponder.runtime.replay.asked import Asked
from ponder.runtime.replay.reading import Near

_MORE = "replay what was recorded, or record the run that needs it with --record"


def missing(file: Path, asked: Asked, near: Sequence[Near], *, repeats: int) -> NotRecorded:
    """`repeats`: how often the same call was served already."""
    return NotRecorded(
        f"recording {str(file)!r} has no {asked.kind!r} for branch {asked.path}: "
        f"{_why(asked, near, repeats)}; {_MORE}"
    )


def missing_fact(file: Path, asked: Asked, about: str) -> NotRecorded:
    what = {
        "count": "how many tokens this prompt or text has",
        "encode": "which tokens this prompt or text has",
        "spell": "how these tokens are spelt",
        "vocabulary": "what tokens spell",
        "resent": "what each call of this branch sends again",
    }[asked.kind]
    return NotRecorded(
        f"recording {str(file)!r} does not say {what}, as nobody asked then: {about}; {_MORE}"
    )


def _why(asked: Asked, near: Sequence[Near], repeats: int) -> str:
    if repeats:
        return f"it was made {repeats} times then, and now once more"
    if not near:
        return "no such branch made such a call"
    here = [row for row in near if row.seed == asked.seed]
    if not here:
        seeds = sorted({row.seed for row in near})[:3]
        return f"that path was run with seed {', '.join(seeds)}, not {asked.seed}"
    alike = [row for row in here if row.past == asked.past]
    if not alike:
        return "the branch held other tokens then: its prompt or an earlier call differed"
    return _difference(asked, alike[0])


def _difference(asked: Asked, row: Near) -> str:
    if row.given == asked.cut.given:
        return "its deadline ended it then, and now it has none"
    names = sorted({*asked.given, *row.given})
    changed = [name for name in names if asked.given.get(name) != row.given.get(name)]
    told = [
        f"{name} was {_short(row.given.get(name))}, and is {_short(asked.given.get(name))}"
        for name in changed
    ]
    return "; ".join(told) or "what is given differs"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
