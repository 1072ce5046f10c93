"""What an OpenAI-compatible endpoint says when a script is its model: replies, and how it speaks.

A token is a character. Choice i under seed s is drawn as seed s + i alone would be.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from ponder.runtime import (
    BranchPath,
    Finish,
    Message,
    Sampling,
    ScriptedEngine,
    Segment,
    Tokens,
    Usage,
)
from ponder.runtime.script import END, Script, arithmetic, next_token, parted, render, spell

Json = dict[str, Any]
NOTHING = Segment(text="", tokens=(), logprobs=(), finish=Finish.LENGTH, usage=Usage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What one model of an endpoint honours, and what it gets wrong."""

    prefix: str | None = "continue_final_message"
    """Or "prefix", or "last"."""
    choices: int = 128
    seed: bool = True
    ladder: bool = True
    stop: bool = True
    logprobs: bool = True
    likeliest: int = 20
    """Most that it tells of in place of a token, however many it is asked for."""
    echo: bool = True
    tokenize: bool = True
    usage: bool = True
    sharp: bool = True
    """Takes top_k and min_p."""
    limit: str = "max_tokens"
    context: int | None = None
    """Characters it takes, where there is an end to it."""
    fault: str | None = None
    """Of the server: see there."""
    finish: str | None = None
    """Said in place of the true finish reason."""


class ScriptedModel:
    """Replies to the bodies of requests."""

    def __init__(self, script: Script = arithmetic) -> None:
        self._engine = ScriptedEngine(script)
        self._ambient = count(10**6)

    async def reply(self, body: Json, manner: Manner) -> Json:
        prompt, said = self._past(body, manner)
        n = min(int(body.get("n", 1)), manner.choices)
        drawn = await asyncio.gather(*(self._draw(prompt, said, body, manner, i) for i in range(n)))
        choices = [self._choice(i, s, body, manner) for i, s in enumerate(drawn)]
        for choice, segment in zip(choices, drawn, strict=True):
            self._add_likeliest(choice, prompt, said, segment, body, manner)
        made: Json = {"id": "x", "object": "text", "model": body["model"], "choices": choices}
        if manner.usage:
            decoded = sum(len(segment.tokens) for segment in drawn)
            made["usage"] = {
                "prompt_tokens": len(prompt + said),
                "completion_tokens": decoded,
                "total_tokens": len(prompt + said) + decoded,
            }
        if body.get("echo") and manner.echo:
            choices[0]["logprobs"] = await self._echoed(prompt, said)
        return made

    def _past(self, body: Json, manner: Manner) -> tuple[str, str]:
        if "prompt" in body:
            given: str | list[int] = body["prompt"]
            return parted(given if isinstance(given, str) else spell(given))
        turns = [Message(role=m["role"], content=m["content"]) for m in body["messages"]]
        last = body["messages"][-1]
        asked = {
            "continue_final_message": bool(body.get("continue_final_message")),
            "prefix": bool(last.get("prefix")),
            "last": True,
        }
        goes_on = manner.prefix is not None and asked[manner.prefix]
        if last["role"] == "assistant" and goes_on:
            return render(turns[:-1]), turns[-1].content
        return render(turns), ""

    async def _draw(
        self, prompt: str, said: str, body: Json, manner: Manner, index: int
    ) -> Segment:
        seed = body.get("seed") if manner.seed else None
        number = next(self._ambient) if seed is None else seed + index
        if index and not manner.ladder:
            number += 7919
        async with await self._engine.open(prompt, path=BranchPath(number)) as branch:
            await branch.append(said)
            if body.get(manner.limit) == 0:
                return NOTHING
            return await branch.extend(sampling(body, manner))

    def _choice(self, index: int, segment: Segment, body: Json, manner: Manner) -> Json:
        text, reason, stop = segment.text, "stop", None
        if segment.finish is Finish.LENGTH:
            reason = "length"
        if segment.finish is Finish.STOP:
            stop = next(s for s in body["stop"] if text.endswith(s))
            text = text.removesuffix(stop)
        choice: Json = {"index": index, "finish_reason": manner.finish or reason}
        if manner.stop:
            choice["stop_reason"] = stop
        if "prompt" in body:
            choice["text"] = text
        else:
            choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs") and manner.logprobs:
            chat = "prompt" not in body
            choice["logprobs"] = told(segment, chat=chat)
        return choice

    def _add_likeliest(
        self, choice: Json, prompt: str, said: str, segment: Segment, body: Json, manner: Manner
    ) -> None:
        most = min(body.get("top_logprobs") or 0, manner.likeliest)
        told = (choice.get("logprobs") or {}).get("content", []) if most else []
        for place, entry in enumerate(told):
            model = next_token(self._engine.script, prompt, said + segment.text[:place])
            best = sorted(model.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
            entry["top_logprobs"] = [
                {"token": spelled(token), "logprob": math.log(p)} for token, p in best
            ]

    async def _echoed(self, prompt: str, said: str) -> Json:
        first, *rest = map(ord, prompt + said)
        async with await self._engine.open(Tokens(ids=(first,)), path=BranchPath(0)) as branch:
            [scored] = await branch.score([Tokens(ids=tuple(rest))])
        values = [None, *(max(v, -9e9) for v in scored.logprobs)]
        return {"tokens": list(prompt + said), "token_logprobs": values}


def told(segment: Segment, *, chat: bool) -> Json:
    pairs = list(zip(map(spelled, segment.tokens), segment.logprobs, strict=True))
    if not chat:
        return {"tokens": [t for t, _ in pairs], "token_logprobs": [p for _, p in pairs]}
    return {"content": [{"token": t, "logprob": p, "top_logprobs": []} for t, p in pairs]}


def spelled(token: int) -> str:
    return "" if token == END else chr(token)


def sampling(body: Mapping[str, Any], manner: Manner) -> Sampling:
    bias = body.get("logit_bias") or {}
    return Sampling(
        max_tokens=body.get(manner.limit, 16),
        temperature=body.get("temperature", 1.0),
        top_p=body.get("top_p", 1.0),
        top_k=body.get("top_k") if manner.sharp else None,
        min_p=body.get("min_p", 0.0) if manner.sharp else 0.0,
        stop=tuple(body.get("stop") or ()),
        bias=tuple((int(t), float(b)) for t, b in bias.items()),
    )
