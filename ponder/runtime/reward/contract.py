"""How one endpoint is asked for rewards: our own contract (`/rewards`), or vLLM's `/pooling`.

`/pooling` takes text, so chat turns are written out by the endpoint's own template first, once a
prompt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from ponder.runtime.chat import turn
from ponder.runtime.errors import ModelError
from ponder.runtime.remote.calls import send
from ponder.runtime.remote.counting import estimate, estimate_prompt
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.wire import read
from ponder.runtime.reward.rendering import Rendering, render
from ponder.runtime.reward.wire import (
    Pooling,
    Rewards,
    Row,
    Solution,
    newest_pooled,
    newest_reward,
    rewards_input,
    wrong_count,
)
from ponder.runtime.values import Usage, Wording

KEPT = 256
"""Prompts whose text is remembered."""


Found = tuple[Row | ModelError, int | None]
"""The newest step's row, or why there is none; and the tokens of it all, where they are told."""


class Shape(Enum):
    """What a row of `/pooling` is of."""

    STEPS = "a separator"
    TOKENS = "a token"
    WHOLE = "the whole text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """How an endpoint pools."""

    shape: Shape
    rendering: Rendering
    """How it tells what it makes of chat turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    row: Row
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contract:
    """See the module. One request each time, and no retries."""

    endpoint: Endpoint
    model: str
    pools: Pools | None = None
    """None speaks our own contract."""
    _written: dict[str, str] = field(default_factory=dict[str, str])
    """Chat turns as text."""

    async def ask(self, solutions: Sequence[Solution]) -> list[Reading | ModelError]:
        """Of each the newest step's row, or why there is none.

        Raises:
            EndpointError: the request as a whole failed.
            InputError: the endpoint refused it, perhaps for one of them.
        """
        if self.pools is None:
            found = await self._rewards(solutions)
        else:
            found = await self._pooling(solutions, self.pools)
        return [
            row if isinstance(row, ModelError) else Reading(row=row, usage=charged(one, tokens))
            for one, (row, tokens) in zip(solutions, found, strict=True)
        ]

    @property
    def _where(self) -> str:
        return f"endpoint {self.endpoint.host!r}"

    async def _rewards(self, solutions: Sequence[Solution]) -> list[Found]:
        body = {"model": self.model, "inputs": list(map(rewards_input, solutions))}
        reply = read(Rewards, await send(self.endpoint, "/rewards", body), self.endpoint)
        counts = reply.tokens if reply.tokens is not None else [None] * len(solutions)
        for what, told in (("lists of scores", reply.scores), ("counts of tokens", counts)):
            if len(told) != len(solutions):
                raise wrong_count(self._where, what, len(told), len(solutions))
        each = zip(solutions, reply.scores, counts, strict=True)
        return [(newest_reward(self._where, one, scores), count) for one, scores, count in each]

    async def _pooling(self, solutions: Sequence[Solution], pools: Pools) -> list[Found]:
        different = {_key(one.prompt): one.prompt for one in solutions}
        prompts = await asyncio.gather(*(self._text(p, pools) for p in different.values()))
        texts = dict(zip(different, prompts, strict=True))
        whole = [texts[_key(one.prompt)] + "".join(one.steps) for one in solutions]
        body = {"model": self.model, "input": whole}
        told = await send(self.endpoint, f"{self.endpoint.root}/pooling", body)
        reply = read(Pooling, told, self.endpoint)
        data = {pooled.index: pooled.data for pooled in reply.data}
        if sorted(data) != list(range(len(solutions))) or len(data) != len(reply.data):
            raise wrong_count(self._where, "results", len(reply.data), len(solutions))
        newest = partial(newest_pooled, stepwise=pools.shape is Shape.STEPS)
        # A row a token counts them. Of several texts the endpoint tells no more than the sum, and
        # a share of it would depend on who else was asked about.
        by_token = pools.shape is Shape.TOKENS
        return [
            (newest(self._where, one, data[i]), len(data[i]) if by_token else None)
            for i, one in enumerate(solutions)
        ]

    async def _text(self, prompt: Wording, pools: Pools) -> str:
        if isinstance(prompt, str):
            return prompt
        turns, key = [turn(message) for message in prompt], _key(prompt)
        if key not in self._written:
            text = await render(self.endpoint, pools.rendering, self.model, turns)
            while len(self._written) >= KEPT:
                self._written.pop(next(iter(self._written)))
            self._written[key] = text
        return self._written[key]


def _key(prompt: Wording) -> str:
    """Equal for equal prompts."""
    if isinstance(prompt, str):
        return prompt
    return json.dumps([turn(message) for message in prompt])


def charged(solution: Solution, tokens: int | None) -> Usage:
    """For all its tokens, as the endpoint told them, else by their text; the last is scored."""
    if tokens is None:
        tokens = estimated = estimate_prompt(solution.prompt) + estimate("".join(solution.steps))
    else:
        estimated = 0
    return Usage(prompt=max(0, tokens - 1), scored=1, estimated=estimated)
