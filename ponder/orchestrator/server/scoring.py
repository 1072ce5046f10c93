"""Log-probabilities of a reply's tokens, of a prompt's, and of the tokens there might have been."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import AsyncGenerator, Sequence

from ponder.orchestrator.server.events import TokenScore
from ponder.runtime import Branch, BranchPath, Engine, Logits, Prompt, Tokens, Usage

STRETCH = 16
"""Positions whose logits are held at once: a vocabulary of numbers each."""


def token_scores(
    engine: Engine,
    tokens: Sequence[int],
    logprobs: Sequence[float | None],
    likeliest: Sequence[tuple[TokenScore, ...]] = (),
) -> tuple[TokenScore, ...]:
    """A score a token; `likeliest` is empty or has one entry for each."""
    others = likeliest or [()] * len(tokens)
    texts = spellings(engine, tokens)
    scored = zip(texts, logprobs, others, strict=True)
    return tuple(TokenScore(token=t, logprob=p, likeliest=o) for t, p, o in scored)


async def likeliest_after(
    engine: Engine, branch: Branch, start: int, stop: int, most: int
) -> list[tuple[TokenScore, ...]]:
    """What the model thought likeliest in place of each of the tokens `start` to `stop`. They are
    read a second time for it, which is charged as `scored`.
    """
    return [
        await asyncio.to_thread(_likeliest, engine, logits, most)
        async for logits in _logits(branch, start, stop)
    ]


async def given_scores(
    engine: Engine, prompt: Prompt, path: BranchPath
) -> tuple[tuple[TokenScore, ...], Usage]:
    """Of all tokens of a prompt but the first, which nothing is before; and what that cost."""
    tokens = engine.encode(prompt)
    first, rest = Tokens(ids=tuple(tokens[:1])), Tokens(ids=tuple(tokens[1:]))
    async with await engine.open(first, path=path) as branch:
        (scored,) = await branch.score([rest])
        return token_scores(engine, tokens, [None, *scored.logprobs]), branch.usage


async def _logits(branch: Branch, start: int, stop: int) -> AsyncGenerator[Logits]:
    """Those that each of the tokens `start` to `stop` was drawn from."""
    for first in range(start - 1, stop - 1, STRETCH):
        for logits in await branch.span_logits(first, min(first + STRETCH, stop - 1)):
            yield logits


def _likeliest(engine: Engine, logits: Logits, most: int) -> tuple[TokenScore, ...]:
    norm = _norm(logits)
    best = heapq.nlargest(most, range(len(logits)), key=logits.__getitem__)
    return tuple(
        TokenScore(token=engine.spell([token]), logprob=logits[token] - norm)
        for token in best
        if logits[token] > -math.inf
    )


def _norm(logits: Logits) -> float:
    highest = max(logits)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logits))


def spellings(engine: Engine, tokens: Sequence[int]) -> list[str]:
    """Joined they are the text: tokens that spell a character together leave it to the last."""
    texts: list[str] = []
    begun: list[int] = []
    for token in tokens:
        begun.append(token)
        text = engine.spell(begun)
        whole = not text.endswith("\ufffd") or len(begun) == LONGEST
        texts.append(text if whole else "")
        if whole:
            begun = []
    if begun:
        texts[-1] = engine.spell(begun)
    return texts


LONGEST = 4
"""Bytes of a character in UTF-8: after so many tokens, U+FFFD is what was meant."""
