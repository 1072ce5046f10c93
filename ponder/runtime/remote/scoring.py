"""Log-probabilities of given text, from completions that echo their prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ponder.runtime.chat import turn
from ponder.runtime.errors import CapabilityError, ModelError
from ponder.runtime.remote.abilities import Rendering
from ponder.runtime.remote.body import COMPLETIONS, Body, Manner
from ponder.runtime.remote.calls import ask, persist, send
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.history import History
from ponder.runtime.remote.wire import Logprobs, Rendered, Tokenised, read
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Scored, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    results: tuple[Scored, ...]
    usage: Usage


async def rendered(endpoint: Endpoint, manner: Manner, path: BranchPath, history: History) -> str:
    """The whole past as one text; chat turns by the endpoint's own template."""
    if isinstance(history.prompt, str):
        return history.prompt + history.said
    rendering, turns = manner.abilities.rendering, [turn(m) for m in history.prompt]
    if rendering is None:
        raise CapabilityError(
            f"{manner.name!r} cannot score after chat turns: its endpoint does not tell how the "
            "model reads them; give raw text"
        )
    work = partial(render, endpoint, rendering, manner.model, turns)
    return await persist(endpoint, path, work) + history.said


async def render(
    endpoint: Endpoint, rendering: Rendering, model: str, turns: Sequence[Body]
) -> str:
    """Chat turns as the text that the model reads, opened for its reply."""
    body: Body = {"model": model, "messages": list(turns)}
    if rendering is Rendering.TOKENS:
        body["add_generation_prompt"] = True
        told = await send(endpoint, f"{endpoint.root}/tokenize", body)
        body = {"model": model, "tokens": read(Tokenised, told, endpoint).tokens}
    address = "apply-template" if rendering is Rendering.TEMPLATE else "detokenize"
    return read(Rendered, await send(endpoint, f"{endpoint.root}/{address}", body), endpoint).prompt


async def score(
    endpoint: Endpoint, manner: Manner, path: BranchPath, past: str, continuations: Sequence[str]
) -> Results:
    """One request a continuation."""
    if not manner.abilities.echo:
        raise CapabilityError(f"{manner.name!r} tells no log-probabilities of given text")
    jobs = [asyncio.create_task(_one(endpoint, manner, path, past, c)) for c in continuations]
    try:
        done = await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
    return Results(
        results=tuple(scored for scored, _ in done),
        usage=sum((usage for _, usage in done), Usage()),
    )


async def _one(
    endpoint: Endpoint, manner: Manner, path: BranchPath, past: str, continuation: str
) -> tuple[Scored, Usage]:
    if not continuation:
        return Scored(tokens=(), logprobs=()), Usage()
    body: Body = {
        "model": manner.model,
        "prompt": past + continuation,
        "max_tokens": 1,  # some refuse 0
        "temperature": 0,
        "echo": True,
        "logprobs": 1,
    }
    reply = await persist(endpoint, path, lambda: ask(endpoint, COMPLETIONS, body))
    logprobs = reply.choices[0].logprobs if reply.choices else None
    if logprobs is None:
        raise ModelError(f"{manner.name!r} told no log-probabilities for {continuation!r}")
    kept = within(logprobs, len(past), len(past) + len(continuation))
    told = reply.usage
    usage = Usage(scored=len(kept))
    if told is not None:
        usage += Usage(prompt=max(0, told.prompt_tokens - len(kept)), cached=told.cached)
        usage += Usage(decoded=told.completion_tokens)
    return Scored(tokens=tuple(map(ord, continuation)), logprobs=tuple(kept)), usage


def within(logprobs: Logprobs, start: int, stop: int) -> list[float]:
    """Of the tokens that have a character in [start, stop) of the text: one that begins in the past
    and reaches into the continuation counts.
    """
    tokens, values = logprobs.tokens or [], logprobs.token_logprobs or []
    offsets = logprobs.text_offset
    kept: list[float] = []
    place = 0
    for i, (token, value) in enumerate(zip(tokens, values, strict=False)):
        begin = offsets[i] if offsets is not None and i < len(offsets) else place
        place = begin + len(token)
        if begin < stop and place > start and value is not None:
            kept.append(value)
    return kept
