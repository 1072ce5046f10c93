"""A branch of vLLM: a journal of tokens, sent as the prompt of each request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import finalize

from ponder.runtime.engine import refusals
from ponder.runtime.engine.jobs import Decode
from ponder.runtime.engine.stream import Stream
from ponder.runtime.engine.text import TextTail
from ponder.runtime.errors import BranchClosed, CapabilityError, InputError, ModelError
from ponder.runtime.runners.sampler import FORBIDDEN, make_rule
from ponder.runtime.seeds import BranchPath
from ponder.runtime.tokens import check_range, moved
from ponder.runtime.values import (
    Finish,
    Logits,
    Pooling,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Usage,
)
from ponder.runtime.vllm.wish import Wish
from ponder.runtime.vllm.work import Lane

if TYPE_CHECKING:
    from ponder.runtime.vllm.engine import VllmEngine

T = TypeVar("T")


class VllmBranch:
    """A `Branch` of a `VllmEngine`.

    Closing it while it extends ends the decode with `Finish.CANCELLED`; closing it during any other
    call makes that call raise `BranchClosed`.
    """

    resent = 0

    def __init__(
        self,
        engine: VllmEngine,
        path: BranchPath,
        lane: Lane,
        tokens: list[int],
        prompt_length: int,
        usage: Usage,
        parent: VllmBranch | None = None,
    ) -> None:
        self.path = path
        self.usage = usage
        self._engine = engine
        self._lane = lane
        self._tokens = tokens
        self._prompt = prompt_length
        self._parent = parent
        self._own = len(tokens) if parent else 0
        self._forks = 0
        self._pins = 0
        self._key = path.key()
        self._call: Future[Any] | None = None  # Any: whatever the call is for
        self._job: Decode | None = None
        self._release = finalize(self, engine.adopt())

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(self._tokens)

    @property
    def tail(self) -> Sequence[int]:
        return tuple(self._tokens[self._own :])

    @property
    def text(self) -> str:
        return self._engine.spell(self._tokens[self._prompt :])

    def fork(self, n: int) -> list[VllmBranch]:
        self._check("fork")
        refusals.check_forks(n)
        ordinal, self._forks = self._forks, self._forks + 1
        return [
            VllmBranch(
                self._engine,
                self.path.child(ordinal, i),
                self._lane,
                list(self._tokens),
                self._prompt,
                Usage(),
                self,
            )
            for i in range(n)
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

    async def append(self, text: str) -> None:
        self._check("append to")
        given = self._engine.tokenizer.encode(text)
        refusals.check_room("appending", len(given), len(self._tokens), self._engine.context_length)
        await self._put(len(self._tokens), given)

    async def score(self, continuations: Sequence[str]) -> list[Scored]:
        self._check("score")
        given = [self._engine.tokenizer.encode(text) for text in continuations]
        self._fit("scoring", max(map(len, given), default=0))
        past, work = tuple(self._tokens), self._engine.work

        async def all_of_them() -> list[Scored]:
            return await asyncio.gather(*(work.score(self._lane, past, each) for each in given))

        scored = await self._done(all_of_them())
        self.usage += Usage(scored=sum(len(each.tokens) for each in scored))
        return scored

    async def logits(self) -> Logits:
        (logits,) = await self.span_logits(len(self._tokens) - 1, len(self._tokens))
        return logits

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        """Normalised: log-probabilities."""
        self._check("read logits of")
        refusals.check_span(self.path, start, stop, len(self._tokens))
        self._fit("reading logits after", 0, stop)
        ends = range(start + 1, stop + 1)
        found = await self._done(self._engine.work.logits(self._lane, tuple(self._tokens), ends))
        self.usage += Usage(scored=len(found))
        return found

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        self._check("read")
        raise CapabilityError(
            f"engine {self._engine.name!r} has no head {head!r}, nor any other; open the model "
            "with Ponder's own engine"
        )

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        self._check("embed")
        raise CapabilityError(
            f"engine {self._engine.name!r} gives no hidden states; open the model with Ponder's "
            "own engine"
        )

    def rewind(self, to: int) -> None:
        self._check("rewind")
        refusals.check_rewind(to, len(self._tokens))
        del self._tokens[to:]
        self._prompt, self._own = min(self._prompt, to), min(self._own, to)

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._check("splice")
        self._check_mode(mode)
        given = self._engine.tokenizer.encode(text) if text else []
        check_range(start, stop, len(self._tokens), len(given))
        behind = self._tokens[stop:]
        end = start + len(given) + len(behind)
        refusals.check_positions("splicing", end, len(self._tokens), self._engine.context_length)
        if start < stop or given:
            await self._put(start, [*given, *behind])
            self._prompt, self._own = (
                moved(border, start, stop, len(given)) for border in (self._prompt, self._own)
            )

    async def join(
        self, others: Sequence[VllmBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._check("join others to")
        self._check_mode(mode)
        for other in others:
            other._check("join")
        if any(other._parent is not self for other in others) or len(set(others)) < len(others):
            raise InputError(
                f"cannot join {[o.path for o in others]!r} with {self.path}: it takes forks "
                "of this branch, each once"
            )
        tails = [token for other in others for token in other._tokens[other._own :]]
        now, end = len(self._tokens), len(self._tokens) + len(tails)
        refusals.check_positions("joining", end, now, self._engine.context_length)
        await self._put(now, tails)

    def share(self, others: Sequence[VllmBranch]) -> None:
        self._check("share others with")
        raise CapabilityError(
            f"engine {self._engine.name!r} has no live views; use Ponder's own engine, or append "
            "what others said"
        )

    def pin(self) -> None:
        """Nothing can be kept in vLLM's cache; what is lost is computed again."""
        self._check_open()
        self._pins += 1

    def unpin(self) -> None:
        self._check_open()
        if not self._pins:
            raise InputError(f"branch {self.path} is not pinned; unpin once for each pin")
        self._pins -= 1

    def close(self) -> None:
        if not self._release.alive:
            return
        self._release()
        if self._job is not None:
            self._job.end()
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def begin_decode(self, params: Sampling, deadline: float | None, *, announce: bool) -> Decode:
        """Start a decode; `end_decode` must follow."""
        self._check("extend")
        engine = self._engine
        ends = engine.tokenizer.end_tokens
        limit = min(params.max_tokens, engine.context_length - len(self._tokens))
        job = Decode(
            make_rule(params, engine.vocabulary),
            self._key,
            limit=limit,
            end_tokens=ends,
            deadline=deadline,
            tail=TextTail(engine.tokenizer, params.stop) if announce or params.stop else None,
            announce=announce,
        )
        if sum(nats == -math.inf for nats in dict(params.bias).values()) == engine.vocabulary:
            raise InputError(f"{FORBIDDEN}; leave one token allowed")
        if limit < 1:
            job.close(Finish.LENGTH)
        elif deadline is not None and engine.clock() >= deadline:
            job.close(Finish.BUDGET)
        else:
            wish = Wish(params=params, key=self._key, start=len(self._tokens), ends=ends)
            work = engine.work.decode(self._lane, tuple(self._tokens), job, wish, limit)
            self._job, self._call = job, engine.service.begin(work)
            self._call.add_done_callback(partial(_settle, job))
        return job

    def end_decode(self, job: Decode) -> Segment:
        """Commit what was drawn; a decode still running is cancelled."""
        job.end()
        if self._call is not None:
            self._call.cancel()
        self._job = self._call = None
        drawn = tuple(job.drawn)
        usage = Usage(decoded=len(drawn))
        if job.error is None:
            self._tokens += drawn
        self.usage += usage
        return Segment(
            text=self._engine.spell(drawn) if job.tail is None else job.tail.whole,
            tokens=drawn,
            logprobs=tuple(job.logprobs),
            finish=job.finish,
            usage=usage,
        )

    def drop_decode(self, job: Decode) -> None:
        """After a failure nothing was committed, and there is nothing to take back."""

    async def _put(self, start: int, given: Sequence[int]) -> None:
        """These tokens in place of all from `start` on."""
        tokens = [*self._tokens[:start], *given]
        if given:
            work = self._engine.work.give(self._lane, tokens, start, opened=False)
            self.usage += await self._done(work)
        self._tokens = tokens

    async def _done(self, work: Coroutine[None, None, T]) -> T:
        future = self._call = self._engine.service.begin(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._check_open()  # else somebody closed it meanwhile
            raise
        finally:
            self._call = None

    def _check(self, action: str) -> None:
        """Raises unless the branch is open and no call runs on it."""
        self._check_open()
        self._engine.service.check()
        if self._call is not None:
            raise InputError(
                f"cannot {action} branch {self.path} while another call runs on it; wait for that "
                "call, or fork first"
            )

    def _check_open(self) -> None:
        if not self._release.alive:
            raise BranchClosed(f"branch {self.path} is closed")

    def _check_mode(self, mode: SpliceMode) -> None:
        if mode is not SpliceMode.REENCODE:
            raise CapabilityError(
                f"engine {self._engine.name!r} keeps no KV across an edit (mode {mode.name}); use "
                "mode REENCODE, or Ponder's own engine"
            )

    def _fit(self, action: str, more: int, length: int | None = None) -> None:
        """Each request of vLLM draws a token, and so needs room for one."""
        length = len(self._tokens) if length is None else length
        refusals.check_room(action, more, length, self._engine.context_length)


def _settle(job: Decode, future: Future[None]) -> None:
    """A decode whose request failed, or never began, waits no longer."""
    try:
        error = future.exception()
    except CancelledError:
        job.end()
        return
    if isinstance(error, Exception):
        job.end(error)
    elif not job.over:
        job.end(ModelError("a decode ended without a reason"))
