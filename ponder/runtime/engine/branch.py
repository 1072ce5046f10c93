"""A branch of the own engine, as its user holds it: the journal of tokens, and calls that wait for
the engine's thread.

Forking, rewinding and closing only post commands, so they are synchronous; commands are obeyed in
order. A branch that is dropped without `close` lets go of its pages when it is collected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self
from weakref import finalize

from ponder.runtime.engine.core import Core
from ponder.runtime.engine.jobs import Decode, Job, Prefill
from ponder.runtime.engine.loop import EngineThread
from ponder.runtime.engine.readings import Embedding, HeadReading, Reading, ScorePart, SpanLogits
from ponder.runtime.engine.refusals import (
    check_forks,
    check_pooling,
    check_rewind,
    check_room,
    check_span,
    check_speaks,
)
from ponder.runtime.engine.stream import Stream
from ponder.runtime.engine.text import TextTail
from ponder.runtime.errors import BranchClosed, InputError
from ponder.runtime.models.config import ModelConfig, Tokenizer
from ponder.runtime.models.heads import Head
from ponder.runtime.runners.sampler import make_rule
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Finish, Logits, Pooling, Sampling, Scored, Segment, Usage


class Host(Protocol):
    """What a branch needs of its engine."""

    @property
    def core(self) -> Core: ...

    @property
    def thread(self) -> EngineThread: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def adopt(self) -> tuple[int, Callable[[], None]]:
        """A new lane's number, and what lets go of it."""
        ...

    @property
    def heads(self) -> Mapping[str, Head]: ...

    def head(self, name: str) -> Head:
        """Raises `CapabilityError` where there is none by that name."""
        ...


class LocalBranch:
    """A `Branch` of a `LocalEngine`.

    Closing it while it extends ends the decode with `Finish.CANCELLED`; closing it during any other
    call makes that call raise `BranchClosed`.
    """

    def __init__(
        self,
        host: Host,
        lane: tuple[int, Callable[[], None]],
        path: BranchPath,
        tokens: Sequence[int],
        prompt_length: int,
        usage: Usage,
    ) -> None:
        self.path = path
        self.usage = usage
        self._host = host
        self._ident, release = lane
        self._release = finalize(self, release)
        self._tokens = list(tokens)
        self._prompt = prompt_length
        self._forks = 0
        self._jobs: Sequence[Job] = ()
        self._key = path.key()

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(self._tokens)

    @property
    def text(self) -> str:
        return self._host.tokenizer.decode(self._tokens[self._prompt :])

    def fork(self, n: int) -> list[LocalBranch]:
        self._check("fork")
        check_forks(n)
        lanes = [self._host.adopt() for _ in range(n)]
        self._host.thread.post(
            partial(self._host.core.fork, self._ident, [ident for ident, _ in lanes])
        )
        ordinal, self._forks = self._forks, self._forks + 1
        return [
            LocalBranch(
                self._host, lane, self.path.child(ordinal, i), self._tokens, self._prompt, Usage()
            )
            for i, lane in enumerate(lanes)
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        job = self.begin_decode(params, deadline, announce=False)
        try:
            await job.finished()
        except Exception:
            self.drop_decode(job)
            raise
        finally:
            segment = self.end_decode(job)
        return segment

    def stream(self, params: Sampling, *, deadline: float | None = None) -> Stream:
        return Stream(self, params, deadline)

    async def append(self, text: str) -> None:
        self._check("append")
        given = self._host.tokenizer.encode(text)
        self._fit(len(given), "appending")
        if not given:
            return
        start = len(self._tokens)
        job = Prefill(opens=False)
        try:
            await self._call(partial(self._host.core.start, self._ident, job, given), job)
        except BaseException:
            self._post(partial(self._host.core.truncate, self._ident, start))
            raise
        self._tokens += given
        self.usage += Usage(prompt=len(given), cached=job.cached)

    async def score(self, continuations: Sequence[str]) -> list[Scored]:
        self._check("score")
        given = [self._host.tokenizer.encode(text) for text in continuations]
        self._predict("score")
        self._fit(max(map(len, given), default=0) - 1, "scoring")
        parts = [ScorePart(tokens, len(self._tokens)) for tokens in given]
        await self._read(*(part for part, tokens in zip(parts, given, strict=True) if tokens))
        return [part.scored for part in parts]

    async def logits(self) -> Logits:
        (logits,) = await self.span_logits(len(self._tokens) - 1, len(self._tokens))
        return logits

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        self._check("read logits of")
        self._predict("read logits of")
        check_span(self.path, start, stop, len(self._tokens))
        job = SpanLogits(start, stop)
        await self._read(job)
        return job.logits

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        self._check("read")
        stop = len(self._tokens)
        start = stop - 1 if start is None else start
        check_span(self.path, start, stop, stop)
        job = HeadReading(self._host.head(head), start, stop)
        await self._read(job)
        return job.outputs

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        self._check("embed")
        check_pooling(pooling)
        stop = len(self._tokens)
        check_span(self.path, start, stop, stop)
        job = Embedding(pooling, start, stop)
        await self._read(job)
        return job.vector

    def rewind(self, to: int) -> None:
        self._check("rewind")
        check_rewind(to, len(self._tokens))
        del self._tokens[to:]
        self._prompt = min(self._prompt, to)
        self._post(partial(self._host.core.truncate, self._ident, to))

    def close(self) -> None:
        for job in self._jobs:
            job.end(None if isinstance(job, Decode) else self._closed())
        self._release()

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
        self._predict("extend")
        limit = min(params.max_tokens, self._host.config.context_length - len(self._tokens))
        watched = announce or params.stop
        job = Decode(
            make_rule(params, self._host.config.vocabulary),
            self._key,
            limit=limit,
            end_tokens=self._host.tokenizer.end_tokens,
            deadline=deadline,
            tail=TextTail(self._host.tokenizer, params.stop) if watched else None,
            announce=announce,
        )
        if limit < 1:
            job.close(Finish.LENGTH)
        else:
            self._begin(partial(self._host.core.start, self._ident, job), job)
        return job

    def end_decode(self, job: Decode) -> Segment:
        """Commit what was drawn; a decode still running is cancelled."""
        job.end()
        self._jobs = ()
        drawn = tuple(job.drawn)
        usage = Usage(decoded=len(drawn))
        if job.error is None:
            self._tokens += drawn
        self.usage += usage
        return Segment(
            text=self._host.tokenizer.decode(drawn) if job.tail is None else job.tail.whole,
            tokens=drawn,
            logprobs=tuple(job.logprobs),
            finish=job.finish,
            usage=usage,
        )

    def drop_decode(self, job: Decode) -> None:
        """After a failure the branch keeps what was committed before."""
        if job.drawn:
            self._post(partial(self._host.core.truncate, self._ident, len(self._tokens)))

    async def _read(self, *readings: Reading) -> None:
        """Charged when it is over, for each token read."""
        if readings:
            await self._call(partial(self._host.core.read, self._ident, readings), *readings)
        self.usage += Usage(scored=sum(reading.taken for reading in readings))

    async def _call(self, command: Callable[[], None], *jobs: Job) -> None:
        self._begin(command, *jobs)
        try:
            for job in jobs:
                await job.finished()
        finally:
            for job in jobs:
                job.end()
            self._jobs = ()

    def _begin(self, command: Callable[[], None], *jobs: Job) -> None:
        self._host.thread.begin(command, *jobs)
        self._jobs = jobs

    def _post(self, command: Callable[[], None]) -> None:
        if self._release.alive:
            self._host.thread.post(command)

    def _fit(self, more: int, action: str) -> None:
        check_room(action, more, len(self._tokens), self._host.config.context_length)

    def _predict(self, action: str) -> None:
        check_speaks(action, self._host.config, self._host.heads)

    def _check(self, action: str) -> None:
        if not self._release.alive:
            raise self._closed()
        if self._jobs:
            raise InputError(
                f"cannot {action} branch {self.path} while another call runs on it; wait for that "
                "call, or fork first"
            )
        self._host.thread.check()

    def _closed(self) -> BranchClosed:
        return BranchClosed(f"branch {self.path} is closed")
