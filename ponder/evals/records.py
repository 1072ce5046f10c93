"""What is kept of one finished example, and its one line of JSON.

Everything a report needs is here, and enough to grade again; the decoded text is in the trace.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from ponder.runtime import InputError, Usage

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Outcome = Literal["complete", "exhausted", "failed"]
""""exhausted": the budget ended first, the answer is the best so far; "failed": no attempt was
possible, as with a question longer than the context.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one verifier made of a candidate."""

    verifier: str
    score: float | None
    """In [0, 1]; None where it failed, and the trace says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much a verifier was asked about one example."""

    verifier: str
    verdicts: int
    """Of candidates; of a search, of its steps."""
    failures: int
    """Of `verdicts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One candidate's extracted answer, as graded."""

    answer: str | None
    group: int | None
    """Equal answers share a number; None has no answer."""
    correct: bool
    scores: tuple[Score, ...] = ()
    """One a verifier; none in records of before scores were kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One example, asked and graded."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's spelling

    id: str
    reference: str
    answer: str | None
    correct: bool
    outcome: Outcome
    reason: str
    """Why it failed; empty otherwise."""
    confidence: float | None
    candidates: tuple[Vote, ...]
    usage: Usage
    seed: int
    seconds: float
    """Wall time of this example alone; examples overlap."""
    session: int
    """Which start of the run asked it: 0, then 1 after the first resume."""
    finished: float
    """Seconds from the start of that session."""
    asked: tuple[Asked, ...] = ()
    """One a verifier; none in records of before this was kept."""


@cache
def _adapter() -> TypeAdapter[Record]:
    # Here, as `import ponder` must stay light.
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def to_line(record: Record) -> bytes:
    """One line of JSON with its end."""
    return json.dumps(asdict(record), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Record:
    """Reads what `to_line` wrote.

    Raises:
        InputError: it is no such line; says what is wrong.
    """
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{first['msg']}{' at ' + where if where else ''}") from error
