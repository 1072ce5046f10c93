"""An engine as a plain model: one prompt, n forks of it, their pieces as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
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
from ponder.orchestrator.server.scoring import given_scores, likeliest_after, token_scores
from ponder.orchestrator.server.stops import Held, Uncalled
from ponder.runtime import (
    OPENING,
    Branch,
    BranchPath,
    Delta,
    Engine,
    Finish,
    Prompt,
    Sampling,
    Segment,
    Usage,
)

Scores = tuple[TokenScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """What a request asks of an engine."""

    prompt: Prompt
    begun: str
    """How the reply begins already."""
    sampling: Sampling | None
    """None draws nothing."""
    choices: int
    seed: int
    """Choice i is what seed + i gives alone."""
    live: bool
    """Pieces are wanted as they are drawn; else siblings may share one request of an endpoint."""
    scores: bool
    likeliest: int
    echo: str
    """What each choice begins with."""
    tools: bool
    """Calls may be in the text."""


PATH = BranchPath(0, ("serve",))
"""Of all requests: the seed is a choice's place among all that there might be, so that choices have
neighbouring seeds, behind an endpoint too.
"""


async def decode(engine: Engine, asked: Decoding) -> AsyncGenerator[Event]:
    """Pieces of every choice as they are drawn; closing it closes the branches."""
    given, read = Scores(), Usage()
    if asked.echo and asked.scores:
        given, read = await given_scores(engine, asked.prompt, PATH.child("given"))
    if asked.sampling is None:
        for event in _echoed(asked, given):
            yield event
        yield Total(usage=read)
        return
    async with await engine.open(asked.prompt, path=PATH) as root:
        if asked.begun:
            await root.append(asked.begun)
        branches = root.fork(asked.choices, asked.seed)
        streams = [
            _choice(engine, i, branch, asked, asked.sampling, given)
            for i, branch in enumerate(branches)
        ]
        events = streams[0] if len(streams) == 1 else merged(streams)
        async with aclosing(events):
            async for event in events:
                yield event
        yield Total(usage=sum((branch.usage for branch in branches), root.usage + read))


def _echoed(asked: Decoding, given: Scores) -> Iterator[Event]:
    """Nothing is drawn."""
    for index in range(asked.choices):
        yield Piece(choice=index, text=asked.echo)
        yield End(choice=index, finish="length", scores=given if asked.scores else None)


async def _choice(
    engine: Engine, index: int, branch: Branch, asked: Decoding, params: Sampling, given: Scores
) -> AsyncGenerator[Event]:
    if asked.echo:
        yield Piece(choice=index, text=asked.echo)
    async with branch:
        start = len(branch.tokens) if asked.likeliest else 0
        shown = _Shown(params, tools=asked.tools)
        async with closing(_deltas(branch, params, live=asked.live)) as deltas:
            async for delta in deltas:
                text = shown.push(delta)
                if text:
                    yield Piece(choice=index, text=text)
                if delta.segment is not None:
                    scores = None
                    if asked.scores:
                        scores = given + await _scores(engine, branch, delta.segment, start, asked)
                    yield shown.end(index, delta.segment, scores)


def _deltas(branch: Branch, params: Sampling, *, live: bool) -> AsyncIterator[Delta]:
    return branch.stream(params) if live else _whole(branch, params)


async def _whole(branch: Branch, params: Sampling) -> AsyncGenerator[Delta]:
    segment = await branch.extend(params)
    yield Delta(text=segment.text, segment=segment)


class _Shown:
    """Text as the client gets it: without stop strings, and without calls where there are any."""

    def __init__(self, params: Sampling, *, tools: bool) -> None:
        self._stops = params.stop
        self._held = Held(params.stop)
        self._uncalled = Uncalled() if tools else None
        self._unread = 0

    def push(self, delta: Delta) -> str:
        text = self._held.push(delta.text)
        if delta.segment is not None:
            text += self._held.rest()
        if self._uncalled is None:
            return text
        text = self._uncalled.push(text)
        if delta.segment is not None:
            rest = self._uncalled.rest(delta.segment.tool_calls)
            self._unread = rest.count(OPENING)
            text += rest
        return text

    def end(self, index: int, segment: Segment, scores: Scores | None) -> End:
        return End(
            choice=index,
            finish=finish_reason(segment.finish),
            scores=scores,
            calls=segment.tool_calls,
            stopped=_stopped(segment, self._stops),
            told={"unread_tool_calls": self._unread} if self._unread else None,
        )


def _stopped(segment: Segment, stops: Sequence[str]) -> str | None:
    if segment.finish is not Finish.STOP:
        return None
    return min((s for s in stops if s in segment.text), key=segment.text.index, default=None)


async def _scores(
    engine: Engine, branch: Branch, segment: Segment, start: int, asked: Decoding
) -> Scores:
    drawn = segment.tokens
    others: list[Scores] = []
    if asked.likeliest and drawn:
        stop = start + len(drawn)
        others = await likeliest_after(engine, branch, start, stop, asked.likeliest)
    return token_scores(engine, drawn, segment.logprobs, others)
