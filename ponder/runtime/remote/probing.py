"""Find out what a model at an endpoint can do: tiny requests, each with an outcome that can be
checked.

Most probes compare with what the model itself says when greedy, so they ask nothing of its wits: a
prefix is continued if half of a greedy reply brings out the other half. What cannot be told apart
counts as missing: a plan is then refused, or a request dearer, but nothing is silently wrong.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from ponder.runtime.confidence import confidence_of
from ponder.runtime.errors import InputError
from ponder.runtime.grammar import KINDS, Grammar, GrammarKind
from ponder.runtime.remote.abilities import MOST_CHOICES, MOST_LIKELIEST, Abilities, Prefix
from ponder.runtime.remote.body import CHAT, COMPLETIONS, Body, continued
from ponder.runtime.remote.calls import ask, explained, persist, pieces
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.faults import EndpointError, NotFound
from ponder.runtime.remote.formats import TRIALS, WAYS, Way, fits, formatted
from ponder.runtime.remote.growing import likeliest, numbers
from ponder.runtime.remote.scoring import bare, echoed, opened, tokenised
from ponder.runtime.remote.wire import Choice, Reply
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Message

_COUNT = "Count from one to thirty in English words."
_CHANCE = "Write forty random lower-case letters."
_RAW = "One two three four five six seven"
_SEEDS = (101, 102, 103, 104)
_HOT = 1.5
_ALL = 1 - 1e-6
"""Of the probability."""
BROKEN = "\ufffd"
"""In place of a letter that is not whole, which nobody can give back."""
_SHORT, _LONG = 12, 24
"""Tokens."""


async def probe(
    endpoint: Endpoint, model: str, *, version: str, context_length: int | None
) -> Abilities:
    """Raises as a call does when the endpoint is down, refuses, or has no such model."""
    return await _Prober(endpoint, model).run(version, context_length)


class _Prober:
    """What is asked of one model."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._patient = endpoint
        self._endpoint = replace(endpoint, attempts=min(2, endpoint.attempts))
        self._model = model
        self._limit = "max_tokens"

    async def run(self, version: str, context_length: int | None) -> Abilities:
        await self._first()
        greedy, guess = await asyncio.gather(
            self._text(_COUNT, _LONG, temperature=0), self._text(_CHANCE, _SHORT, temperature=0)
        )
        drawn, again = await asyncio.gather(self._drawn(), self._drawn())
        choices, prefix = await asyncio.gather(self._choices(), self._prefix(greedy))
        tests: list[Callable[[], Awaitable[bool]]] = [
            self._raw,
            self._scores,
            lambda: self._stop(greedy),
            self._logprobs,
            lambda: self._stream(greedy, usage=False),
            lambda: self._stream(greedy, usage=True),
            lambda: self._sharpened(guess, drawn, top_k=1),
            lambda: self._sharpened(guess, drawn, min_p=0.999999),
        ]
        held = await asyncio.gather(*map(self._holds, tests))
        raw, scores, stop, logprobs, stream, usage, top_k, min_p = held
        seed = drawn == again and len(set(drawn)) > 1
        return Abilities(
            version=version,
            context_length=context_length,
            limit=self._limit,
            completions=raw,
            prefix=prefix,
            choices=MOST_CHOICES if len(set(choices)) > 1 else 1,
            seed=seed,
            ladder=seed and tuple(choices[: len(drawn)]) == drawn,
            stop_told=stop,
            logprobs=logprobs,
            confidence=await self._confidence() if logprobs else 0,
            scores=scores,
            usage=usage,
            stream=stream,
            top_k=top_k,
            min_p=min_p,
            grammars=await self._grammars(),
        )

    async def _first(self) -> Reply:
        """That it replies at all, and what it calls the limit of tokens."""
        try:
            return await self._chat(_COUNT, _LONG, endpoint=self._patient)
        except NotFound as error:
            raise await explained(error, self._patient, self._model) from error
        except InputError as error:
            if "max_tokens" not in str(error):
                raise
            self._limit = "max_completion_tokens"
            return await self._chat(_COUNT, _LONG, endpoint=self._patient)

    async def _drawn(self) -> tuple[str, ...]:
        """One reply a seed."""
        asked = (self._text(_CHANCE, _SHORT, temperature=_HOT, seed=seed) for seed in _SEEDS)
        return tuple(await asyncio.gather(*asked))

    async def _choices(self) -> list[str]:
        """Replies of one request for eight; fewer, or copies, are none."""
        try:
            reply = await self._chat(_CHANCE, _SHORT, temperature=_HOT, seed=_SEEDS[0], n=8)
        except (InputError, EndpointError):
            return []
        return [words(choice) for choice in reply.choices] if len(reply.choices) == 8 else []

    async def _prefix(self, greedy: str) -> Prefix | None:
        begun, rest = halves(greedy)
        for prefix in Prefix:
            if begun and await self._holds(partial(self._continues, prefix, begun, rest)):
                return prefix
        return None

    async def _continues(self, prefix: Prefix, begun: str, rest: str) -> bool:
        turns: list[Body] = [{"role": "user", "content": _COUNT}]
        body = self._body(_LONG) | {"temperature": 0} | continued(prefix, turns, begun)
        said = content(await self._ask(CHAT, body))
        return agree(said, rest) and not agree(said, begun + rest)

    async def _stop(self, greedy: str) -> bool:
        begun, rest = halves(greedy)
        stop = rest[:4]
        if not begun:
            return False
        reply = await self._chat(_COUNT, _LONG, temperature=0, stop=[stop])
        told = reply.choices[0].stop_reason if reply.choices else None
        return told == stop and greedy.startswith(content(reply))

    async def _logprobs(self) -> bool:
        """They are told, and are the model's own: temperature does not move them, nor does leaving
        out all tokens but the likeliest.
        """
        asked: Body = {"logprobs": True, "top_logprobs": 0}
        cold = await self._chat(_COUNT, _SHORT, temperature=0, **asked)
        hot = await self._chat(_COUNT, _SHORT, temperature=_HOT, top_p=1e-6, **asked)
        told = [reply.choices[0].logprobs for reply in (cold, hot)]
        first, second = (numbers(each) if each else [] for each in told)
        alike = all(abs(a - b) < 0.05 for a, b in zip(first, second, strict=False))
        return bool(first and second) and alike and min(first) < -0.01 and max(first) <= 0

    async def _confidence(self) -> int:
        for most in MOST_LIKELIEST:
            if await self._holds(partial(self._likeliest, most)):
                return most
        return 0

    async def _likeliest(self, most: int) -> bool:
        """So many are told, or all that have any probability; and they are the model's own."""
        asked: Body = {"logprobs": True, "top_logprobs": most}
        cold = await self._chat(_CHANCE, _SHORT, temperature=0, **asked)
        hot = await self._chat(_CHANCE, _SHORT, temperature=_HOT, top_p=1e-6, **asked)
        told = [reply.choices[0].logprobs for reply in (cold, hot)]
        first, second = (likeliest(each) if each else [] for each in told)
        whole = all(len(each) >= most or math.fsum(map(math.exp, each)) > _ALL for each in first)
        alike = all(
            abs(confidence_of(a, most) - confidence_of(b, most)) < 0.05
            for a, b in zip(first, second, strict=False)
        )
        return bool(first and second) and whole and alike

    async def _raw(self) -> bool:
        """Raw text is continued."""
        body = {"model": self._model, "prompt": _RAW, "max_tokens": 1, "temperature": 0}
        return bool((await self._ask(COMPLETIONS, body)).choices)

    async def _scores(self) -> bool:
        """A chat has as many tokens as it is charged for, and each one behind the first of a prompt
        has its log-probability.
        """
        where, model = self._endpoint, self._model
        turns = opened([Message(role="user", content=_COUNT)])
        chat, text = [await tokenised(where, model, body) for body in (turns, bare(_RAW))]
        charged = (await self._chat(_COUNT, _SHORT)).usage
        if charged is None or charged.prompt_tokens != len(chat):
            return False
        told = await echoed(where, model, [*chat, *text])
        values = [value for value in told.values[1:] if value is not None and value <= 0]
        return len(values) == len(chat + text) - 1 > len(chat)

    async def _grammars(self) -> tuple[tuple[GrammarKind, Way], ...]:
        found = await asyncio.gather(*map(self._way, KINDS))
        return tuple((kind, way) for kind, way in zip(KINDS, found, strict=True) if way is not None)

    async def _way(self, kind: GrammarKind) -> Way | None:
        """The first way of holding a reply to such a grammar that has an effect."""

        async def works(way: Way) -> bool:
            fields = formatted(way, Grammar(kind=kind, text=TRIALS[kind]))
            return fits(kind, content(await self._chat(_COUNT, _LONG, temperature=0, **fields)))

        for way in WAYS:
            if await self._holds(partial(works, way)):
                return way
        return None

    async def _stream(self, greedy: str, *, usage: bool) -> bool:
        body = self._body(_LONG) | {"temperature": 0, "stream": True}
        body["messages"] = [{"role": "user", "content": _COUNT}]
        if usage:
            body["stream_options"] = {"include_usage": True}
        text, told = "", False
        async with aclosing(pieces(self._endpoint, CHAT, body)) as replies:
            async for reply in replies:
                text += content(reply)
                told = told or reply.usage is not None
        return agree(text, greedy) and told >= usage

    async def _sharpened(self, guess: str, drawn: tuple[str, ...], **setting: float) -> bool:
        """A setting that leaves only the likeliest token makes hot replies greedy."""
        asked = (
            self._text(_CHANCE, _SHORT, temperature=_HOT, seed=seed, **setting)
            for seed in _SEEDS[:3]
        )
        return set(await asyncio.gather(*asked)) == {guess} != set(drawn)

    async def _holds(self, test: Callable[[], Awaitable[bool]]) -> bool:
        """A test that the endpoint refuses, or breaks at, does not hold."""
        try:
            return await test()
        except (InputError, EndpointError):
            return False

    async def _text(self, prompt: str, tokens: int, **fields: Any) -> str:  # Any: JSON
        try:
            reply = await self._chat(prompt, tokens, **fields)
        except (InputError, EndpointError):
            return ""
        return words(reply.choices[0]) if reply.choices else ""

    async def _chat(
        self, prompt: str, tokens: int, *, endpoint: Endpoint | None = None, **fields: Any
    ) -> Reply:
        turns = [{"role": "user", "content": prompt}]
        return await self._ask(
            CHAT, self._body(tokens) | {"messages": turns} | fields, endpoint or self._endpoint
        )

    async def _ask(self, path: str, body: Body, endpoint: Endpoint | None = None) -> Reply:
        where = endpoint or self._endpoint
        reply = await persist(where, BranchPath(0, (path,)), lambda: ask(where, path, body))
        if not reply.choices:
            raise EndpointError(
                f"endpoint {where.host!r}: the reply has no choices", retryable=False
            )
        return reply

    def _body(self, tokens: int) -> Body:
        return {"model": self._model, self._limit: tokens}


def words(choice: Choice) -> str:
    """All that the model said, its thoughts too."""
    part = choice.part
    if part is None:
        return ""
    return (part.reasoning_content or part.reasoning or "") + (part.content or "")


def content(reply: Reply) -> str:
    part = reply.choices[0].part if reply.choices else None
    return (part.content or "") if part else ""


def halves(text: str) -> tuple[str, str]:
    """Cut before a space near the middle, else within the letters that are whole; two empty ones
    where there are none.
    """
    middle = len(text) // 2
    place = text.find(" ", middle)
    if not 0 < place < len(text) - 4 or BROKEN in text[:place]:
        place = min(middle, len(text.partition(BROKEN)[0]))
    return (text[:place], text[place:]) if 0 < place < len(text) - 4 else ("", "")


def agree(one: str, other: str) -> bool:
    """Whether one begins with the other, over enough letters to mean something."""
    length = min(len(one), len(other))
    return length >= 4 and one[:length] == other[:length]
