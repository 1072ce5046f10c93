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
from ponder.runtime.remote.abilities import Rendering
from ponder.runtime.remote.calls import send
from ponder.runtime.remote.counting import estimate, estimate_prompt, shares
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.scoring import render
from ponder.runtime.remote.wire import Told, read
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
from ponder.runtime.values import Prompt, Usage

KEPT = 256
"""Prompts whose text is remembered."""


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
            rows, told = await self._rewards(solutions)
        else:
            rows, told = await self._pooling(solutions, self.pools)
        usages = charged(solutions, told)
        return [
            row if isinstance(row, ModelError) else Reading(row=row, usage=usage)
            for row, usage in zip(rows, usages, strict=True)
        ]

    @property
    def _where(self) -> str:
        return f"endpoint {self.endpoint.host!r}"

    async def _rewards(
        self, solutions: Sequence[Solution]
    ) -> tuple[list[Row | ModelError], Told | None]:
        body = {"model": self.model, "inputs": list(map(rewards_input, solutions))}
        reply = read(Rewards, await send(self.endpoint, "/rewards", body), self.endpoint)
        if len(reply.scores) != len(solutions):
            raise wrong_count(self._where, "lists of scores", len(reply.scores), len(solutions))
        pairs = zip(solutions, reply.scores, strict=True)
        return [newest_reward(self._where, one, scores) for one, scores in pairs], reply.usage

    async def _pooling(
        self, solutions: Sequence[Solution], pools: Pools
    ) -> tuple[list[Row | ModelError], Told | None]:
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
        return [newest(self._where, one, data[i]) for i, one in enumerate(solutions)], reply.usage

    async def _text(self, prompt: Prompt, pools: Pools) -> str:
        if isinstance(prompt, str):
            return prompt
        turns, key = [turn(message) for message in prompt], _key(prompt)
        if key not in self._written:
            text = await render(self.endpoint, pools.rendering, self.model, turns)
            while len(self._written) >= KEPT:
                self._written.pop(next(iter(self._written)))
            self._written[key] = text
        return self._written[key]


def _key(prompt: Prompt) -> str:
    """Equal for equal prompts."""
    if isinstance(prompt, str):
        return prompt
    return json.dumps([turn(message) for message in prompt])


def charged(solutions: Sequence[Solution], told: Told | None) -> list[Usage]:
    """What each costs: its part of what the endpoint told, else by its text."""
    sizes = [estimate_prompt(s.prompt) + sum(map(estimate, s.steps)) for s in solutions]
    if told is None:
        return [Usage(prompt=max(0, size - 1), scored=1, estimated=size) for size in sizes]
    parts, cached = shares(told.prompt_tokens, sizes), shares(told.cached, sizes)
    return [
        Usage(prompt=max(0, part - 1), scored=1, cached=min(found, max(0, part - 1)))
        for part, found in zip(parts, cached, strict=True)
    ]
