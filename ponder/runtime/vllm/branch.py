"""A branch of vLLM: a journal of tokens, sent as the prompt of each request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from ponder.runtime.confidence import check_confidence
from ponder.runtime.engine import refusals
from ponder.runtime.engine.jobs import Decode
from ponder.runtime.engine.stream import Stream
from ponder.runtime.engine.text import TextTail
from ponder.runtime.errors import CapabilityError, InputError
from ponder.runtime.gate import Gate
from ponder.runtime.listed import Listed
from ponder.runtime.picking import FULL, Choose, picked
from ponder.runtime.runners.sampler import FORBIDDEN, make_rule
from ponder.runtime.standing import Origin
from ponder.runtime.tokens import check_range, moved
from ponder.runtime.values import (
    Finish,
    Logits,
    Pooling,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Tokens,
    Usage,
)
from ponder.runtime.vllm.service import settle
from ponder.runtime.vllm.wish import Wish
from ponder.runtime.vllm.work import Lane

if TYPE_CHECKING:
    from ponder.runtime.vllm.engine import VllmEngine

T = TypeVar("T")


class VllmBranch(Listed):
    """A `Branch` of a `VllmEngine`.

    Closing it while it extends ends the decode with `Finish.CANCELLED`; closing it during any other
    call makes that call raise `BranchClosed`.
    """

    resent = 0

    def __init__(
        self,
        engine: VllmEngine,
        origin: Origin,
        lane: Lane,
        tokens: list[int],
        prompt_length: int,
        usage: Usage,
        parent: VllmBranch | None = None,
        *,
        own: int,
    ) -> None:
        self.path = origin.path
        self.usage = usage
        self._origin = origin
        self._engine = engine
        self._lane = lane
        self._tokens = tokens
        self._prompt = prompt_length
        self._parent = parent
        self._own = own
        self._key = self.path.key()
        self._gate = Gate(self.path, engine.name, engine.service.check)
        self.pin, self.unpin = self._gate.pin, self._gate.unpin
        self._turn = ExitStack()
        """Around a decode."""
        self._job: Decode | None = None
        self._asked: Future[Any] | None = None  # Any: whatever the call is for
        self._release = finalize(self, engine.adopt())

    @property
    def text(self) -> str:
        return self._engine.spell(self._tokens[self._prompt :])

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[VllmBranch]:
        self._gate.check("fork")
        engine, lane, own = self._engine, self._lane, len(self._tokens)
        return [
            VllmBranch(
                engine, origin, lane, list(self._tokens), self._prompt, Usage(), self, own=own
            )
            for origin in self._origin.fork(n, first, name)
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        job = self.begin_decode(params, deadline, announce=False)
        try:
            await job.finished()
        finally:
            segment = self.end_decode(job)
        return segment

    def stream(self, params: Sampling, *, deadline: float | None = None) -> Stream:
        return Stream(self, params, deadline)

    async def draw(self, choose: Choose) -> Segment:
        self._gate.check("draw on")
        if len(self._tokens) >= self._engine.context_length:
            return FULL
        work = self._engine.work.row(self._lane, tuple(self._tokens))
        row = await self._done("draw on", work)
        with self._gate.call("draw on"):
            token = await choose(row)
            self._gate.check_open()
            ends = self._engine.vocabulary().ends
            segment = picked(token, row, ends, self._engine.spell)
            self._engine.work.counts.picked(token)
        self._tokens += segment.tokens
        self.usage += segment.usage
        return segment

    async def append(self, text: str) -> None:
        self._gate.check("append to")
        given = self._engine.tokenizer.encode(text)
        refusals.check_room("appending", len(given), len(self._tokens), self._engine.context_length)
        await self._put("append to", len(self._tokens), given)

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        self._gate.check("score")
        if not self._engine.capabilities.prompt_logprobs:
            raise self._untold("log-probabilities of given text beside adapters")
        given = [self._engine.encode(each, bare=True) for each in continuations]
        self._fit("scoring", max(map(len, given), default=0))
        past, work = tuple(self._tokens), self._engine.work

        async def all_of_them() -> list[Scored]:
            return await asyncio.gather(*(work.score(self._lane, past, each) for each in given))

        scored = await self._done("score", all_of_them())
        self.usage += Usage(scored=sum(len(each.tokens) for each in scored))
        return scored

    async def logits(self) -> Logits:
        (logits,) = await self.span_logits(len(self._tokens) - 1, len(self._tokens))
        return logits

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        """Normalised: log-probabilities."""
        self._gate.check("read logits of")
        refusals.check_span(self.path, start, stop, len(self._tokens))
        self._fit("reading logits after", 0, stop)
        ends = range(start + 1, stop + 1)
        work = self._engine.work.logits(self._lane, tuple(self._tokens), ends)
        found = await self._done("read logits of", work)
        self.usage += Usage(scored=len(found))
        return found

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        raise self._untold(f"head {head!r}, nor any other")

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        raise self._untold("hidden states to pool")

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("splice", mode)
        given = self._engine.tokenizer.encode(text) if text else []
        check_range(start, stop, len(self._tokens), len(given))
        behind = self._tokens[stop:]
        end = start + len(given) + len(behind)
        refusals.check_positions("splicing", end, len(self._tokens), self._engine.context_length)
        if start < stop or given:
            await self._put("splice", start, [*given, *behind])
            self._prompt, self._own = (
                moved(border, start, stop, len(given)) for border in (self._prompt, self._own)
            )

    async def join(
        self, others: Sequence[VllmBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("join others to", mode)
        for other in others:
            other._gate.check("join")
        forks = all(other._parent is self for other in others)
        self._gate.check_kin([other.path for other in others], forks=forks)
        tails = [token for other in others for token in other._tokens[other._own :]]
        now, end = len(self._tokens), len(self._tokens) + len(tails)
        refusals.check_positions("joining", end, now, self._engine.context_length)
        await self._put("join others to", now, tails)

    def share(self, others: Sequence[VllmBranch]) -> None:
        raise self._gate.no_live_views()

    def close(self) -> None:
        if self._gate.close():
            self._release()
            if self._job is not None:
                self._job.end()
            if self._asked is not None:
                self._asked.cancel()

    def begin_decode(self, params: Sampling, deadline: float | None, *, announce: bool) -> Decode:
        """Start a decode; `end_decode` must follow."""
        self._gate.check("extend")
        engine = self._engine
        check_confidence(engine.name, params.confidence, engine.capabilities.confidence)
        if params.grammar is not None:
            raise self._untold("grammars")
        ends = engine.tokenizer.end_tokens
        limit = min(params.max_tokens, engine.context_length - len(self._tokens))
        job = Decode(
            make_rule(params, engine.vocabulary_size),
            self._key,
            limit=limit,
            end_tokens=ends,
            deadline=deadline,
            tail=TextTail(engine.tokenizer, params.stop) if announce or params.stop else None,
            announce=announce,
            confidence=params.confidence,
        )
        if sum(nats == -math.inf for nats in dict(params.bias).values()) == engine.vocabulary_size:
            raise InputError(f"{FORBIDDEN}; leave one token allowed")
        self._turn.enter_context(self._gate.call("extend"))
        if limit < 1:
            job.close(Finish.LENGTH)
        elif deadline is not None and engine.clock() >= deadline:
            job.close(Finish.BUDGET)
        else:
            wish = Wish(params=params, key=self._key, start=len(self._tokens), ends=ends)
            work = engine.work.decode(self._lane, tuple(self._tokens), job, wish, limit)
            self._job, self._asked = job, engine.service.begin(work)
            self._asked.add_done_callback(partial(settle, job))
        return job

    def end_decode(self, job: Decode) -> Segment:
        """Commit what was drawn; a decode still running is cancelled."""
        job.end()
        if self._asked is not None:
            self._asked.cancel()
        self._job = self._asked = None
        self._turn.close()
        segment = job.segment(self._engine.spell)
        if job.error is None:
            self._tokens += segment.tokens
        self.usage += segment.usage
        return segment

    def drop_decode(self, job: Decode) -> None:
        """After a failure nothing was committed, and there is nothing to take back."""

    async def _put(self, action: str, start: int, given: Sequence[int]) -> None:
        """These tokens in place of all from `start` on."""
        tokens = [*self._tokens[:start], *given]
        if given:
            work = self._engine.work.give(self._lane, tokens, start, opened=False)
            self.usage += await self._done(action, work)
        self._tokens = tokens

    async def _done(self, action: str, work: Coroutine[None, None, T]) -> T:
        with self._gate.call(action):
            self._asked = self._engine.service.begin(work)
            try:
                return await asyncio.wrap_future(self._asked)
            except asyncio.CancelledError:
                self._gate.check_open()  # closed meanwhile, it raises what says so
                raise
            finally:
                self._asked = None

    def _untold(self, what: str) -> CapabilityError:
        self._gate.check_open()
        return CapabilityError(
            f"engine {self._engine.name!r} has no {what}; open the model with Ponder's own engine"
        )

    def _fit(self, action: str, more: int, length: int | None = None) -> None:
        """Each request of vLLM draws a token, and so needs room for one."""
        length = len(self._tokens) if length is None else length
        refusals.check_room(action, more, length, self._engine.context_length)
