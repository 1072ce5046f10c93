"""An engine as a plain model: one prompt, n forks of it, their pieces as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ponder.orchestrator.channel import closing
from ponder.orchestrator.server.events import (
    End,
    Event,
    Piece,
    TokenScore,
    Total,
    finish_reason,
)
from ponder.orchestrator.server.merging import merged
from ponder.orchestrator.server.stops import Held
from ponder.runtime import Branch, BranchPath, Engine, Prompt, Sampling, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """What a request asks of an engine."""

    prompt: Prompt
    sampling: Sampling
    choices: int
    path: BranchPath
    scores: bool


async def decode(engine: Engine, asked: Decoding) -> AsyncGenerator[Event]:
    """Pieces of every choice as they are drawn; closing it closes the branches."""
    async with await engine.open(asked.prompt, path=asked.path) as root:
        branches = root.fork(asked.choices)
        streams = [_choice(engine, i, branch, asked) for i, branch in enumerate(branches)]
        async with aclosing(merged(streams)) as events:
            async for event in events:
                yield event
        yield Total(usage=sum((branch.usage for branch in branches), root.usage))


async def _choice(
    engine: Engine, index: int, branch: Branch, asked: Decoding
) -> AsyncGenerator[Event]:
    held = Held(asked.sampling.stop)
    async with branch, closing(branch.stream(asked.sampling)) as deltas:
        async for delta in deltas:
            text = held.push(delta.text)
            if delta.segment is not None:
                text += held.rest()
            if text:
                yield Piece(choice=index, text=text)
            if delta.segment is not None:
                scores = _scores(engine, delta.segment) if asked.scores else None
                finish = finish_reason(delta.segment.finish)
                yield End(choice=index, finish=finish, scores=scores)


def _scores(engine: Engine, segment: Segment) -> tuple[TokenScore, ...]:
    pairs = zip(segment.tokens, segment.logprobs, strict=True)
    return tuple(TokenScore(token=engine.spell([t]), logprob=value) for t, value in pairs)
