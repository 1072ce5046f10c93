"""What reward endpoints are sent and what they reply, checked as it comes in; docs/rewards.md has
both contracts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from ponder.runtime.chat import turn
from ponder.runtime.errors import ModelError
from ponder.runtime.remote.body import Body
from ponder.runtime.remote.faults import EndpointError
from ponder.runtime.values import Wording

Row = tuple[float, ...]
"""What the head says at one place."""

MOST_OUTPUTS = 16
"""Of a head. What says more is an embedding, of which any number would pass for a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What is to be scored: a question as its prompt has it, and the steps of an answer to it."""

    prompt: Wording
    steps: tuple[str, ...]
    """At least one."""


class Rewards(BaseModel):
    """A reply of our own contract: for each input, a score in [0, 1] for each step."""

    scores: list[list[float]]
    tokens: list[int] | None = None
    """Of each input, question and steps."""


class Pooled(BaseModel):
    index: int
    data: list[list[float]] | list[float]


class Pooling(BaseModel):
    """A reply of vLLM's `/pooling`."""

    data: list[Pooled]


def rewards_input(solution: Solution) -> Body:
    """One input of our own contract."""
    steps = list(solution.steps)
    if isinstance(solution.prompt, str):
        return {"prompt": solution.prompt, "steps": steps}
    return {"messages": [turn(message) for message in solution.prompt], "steps": steps}


def wrong_count(where: str, what: str, told: int, asked: int) -> EndpointError:
    return EndpointError(
        f"{where} told {told} {what} for {asked}; docs/rewards.md says what it must",
        retryable=False,
    )


def newest_reward(where: str, solution: Solution, scores: Sequence[float]) -> Row | ModelError:
    """The last step's score."""
    if len(scores) != len(solution.steps):
        return wrong_count(where, "scores", len(scores), len(solution.steps))
    for place, score in enumerate(scores, start=1):
        if not 0 <= score <= 1:
            return EndpointError(
                f"{where} scored step {place} of {len(scores)} {score!r}; scores are in [0, 1]",
                retryable=False,
            )
    return (scores[-1],)


def newest_pooled(
    where: str, solution: Solution, data: list[list[float]] | list[float], *, stepwise: bool
) -> Row | ModelError:
    """What the head says at the newest place; `stepwise` holds for a row a step."""
    rows = rows_of(data)
    if stepwise and len(rows) != len(solution.steps):
        error = wrong_count(where, "scores", len(rows), len(solution.steps))
        return EndpointError(
            f"{error} (is the model's separator behind each step? 'qwen_process_reward' has it)",
            retryable=False,
        )
    if not rows or not all(map(math.isfinite, rows[-1])):
        said = rows[-1] if rows else "nothing"
        return EndpointError(f"{where} said {said!r}; it must say numbers", retryable=False)
    if len(rows[-1]) > MOST_OUTPUTS:
        return EndpointError(
            f"{where} said {len(rows[-1])} numbers at one place; a reward has {MOST_OUTPUTS} at "
            "most, so this is an embedding: serve a reward model",
            retryable=False,
        )
    return rows[-1]


def rows_of(data: list[list[float]] | list[float]) -> list[Row]:
    """A row a place; a flat list is one row, of the whole."""
    rows = [row for row in data if isinstance(row, list)]
    flat = tuple(value for value in data if not isinstance(value, list))
    return [flat] if flat else [tuple(row) for row in rows]
