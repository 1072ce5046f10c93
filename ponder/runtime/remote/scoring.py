"""Log-probabilities of given text, from completions that echo a prompt of tokens.

An endpoint tells how its model reads chat turns (`/tokenize`); what was said since then, and each
continuation, are tokenised by themselves, as every engine does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ponder.runtime.chat import TOOLS, Chat, turn
from ponder.runtime.errors import CapabilityError, ModelError
from ponder.runtime.remote.body import COMPLETIONS, Body, Manner
from ponder.runtime.remote.calls import ask, persist, send
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.history import History
from ponder.runtime.remote.wire import Tokenised, read
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Scored, Usage, Wording

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    results: tuple[Scored, ...]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """A prompt of tokens, as it came back."""

    values: Sequence[float | None]
    """Nats, one a token; None for the first."""
    usage: Usage
    """All of it as `prompt`."""


def opened(prompt: Wording) -> Body:
    """What `/tokenize` is asked for the tokens that a branch starts with."""
    if isinstance(prompt, str):
        return {"prompt": prompt}
    turns = [turn(message) for message in prompt]
    tools = Chat.of(prompt).tools
    offered = {TOOLS: list(tools)} if tools else {}
    return {"messages": turns, "add_generation_prompt": True, **offered}


def bare(text: str) -> Body:
    """The same for text in the middle of a branch."""
    return {"prompt": text, "add_special_tokens": False}


async def tokenised(endpoint: Endpoint, model: str, body: Body) -> list[int]:
    told = await send(endpoint, f"{endpoint.root}/tokenize", {"model": model, **body})
    return read(Tokenised, told, endpoint).tokens


async def echoed(endpoint: Endpoint, model: str, tokens: Sequence[int]) -> Echo:
    """Nothing is drawn."""
    body: Body = {
        "model": model,
        "prompt": list(tokens),
        "max_tokens": 0,
        "temperature": 0,
        "echo": True,
        "logprobs": 1,
    }
    reply = await ask(endpoint, COMPLETIONS, body)
    logprobs, told = reply.choices[0].logprobs if reply.choices else None, reply.usage
    usage = Usage()
    if told is not None:
        usage = Usage(prompt=told.prompt_tokens, cached=told.cached, decoded=told.completion_tokens)
    return Echo(values=(logprobs.token_logprobs if logprobs else None) or (), usage=usage)


async def score(
    endpoint: Endpoint,
    manner: Manner,
    path: BranchPath,
    history: History,
    continuations: Sequence[str],
) -> Results:
    """One request a continuation, once the tokens are known."""
    if not manner.abilities.scores:
        raise CapabilityError(
            f"{manner.name!r} tells no log-probabilities of given text; its endpoint would have to "
            "offer /tokenize, and echo tokens with their log-probabilities"
        )

    async def tokens(body: Body) -> list[int]:
        if not body.get("prompt", " "):
            return []
        return await persist(endpoint, path, partial(tokenised, endpoint, manner.model, body))

    asked = [opened(history.prompt), *map(bare, [history.said, *continuations])]
    start, said, *given = await _together(map(tokens, asked))
    one = partial(_one, endpoint, manner, path, start + said)
    done = await _together(map(one, continuations, given))
    return Results(
        results=tuple(scored for scored, _ in done),
        usage=sum((usage for _, usage in done), Usage()),
    )


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; the failure of one ends the others."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _one(
    endpoint: Endpoint,
    manner: Manner,
    path: BranchPath,
    past: list[int],
    text: str,
    given: list[int],
) -> tuple[Scored, Usage]:
    if not given:
        return Scored(tokens=(), logprobs=()), Usage()
    work = partial(echoed, endpoint, manner.model, past + given)
    echo = await persist(endpoint, path, work)
    kept = [v for v in echo.values[len(past) : len(past) + len(given)] if v is not None]
    if len(kept) < len(given):
        raise ModelError(
            f"{manner.name!r} told {len(kept)} log-probabilities of the {len(given)} tokens of "
            f"{text!r}"
        )
    read_anew = Usage(prompt=min(len(given), echo.usage.prompt))
    usage = echo.usage - read_anew + Usage(scored=len(given))
    return Scored(tokens=tuple(map(ord, text)), logprobs=tuple(kept)), usage
