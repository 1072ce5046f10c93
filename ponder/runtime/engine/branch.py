"""A branch of the own engine, as its user holds it: the journal of tokens, and calls that wait for
the engine's thread.

Forking, rewinding and closing only post commands, so they are synchronous; commands are obeyed in
order. A branch that is dropped without `close` lets go of its pages when it is collected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self
from weakref import finalize

from ponder.runtime.engine.core import Core
from ponder.runtime.engine.jobs import Decode, Job, Prefill, Read, ScorePart
from ponder.runtime.engine.loop import EngineThread
from ponder.runtime.engine.stream import Stream
from ponder.runtime.engine.text import TextTail
from ponder.runtime.errors import BranchClosed, ContextOverflow, InputError
from ponder.runtime.models.config import ModelConfig, Tokenizer
from ponder.runtime.runners.sampler import make_rule
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Finish, Logits, Sampling, Scored, Segment, Usage


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
        if n < 1:
            raise InputError(f"fork into {n!r} branches; it must be at least 1")
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
        job = Prefill(len(given), start - 1)
        try:
            await self._call(partial(self._host.core.start, self._ident, job, given), job)
        except BaseException:
            self._post(partial(self._host.core.truncate, self._ident, start))
            raise
        self._tokens += given
        self.usage += Usage(prompt=job.given, cached=job.cached)

    async def score(self, continuations: Sequence[str]) -> list[Scored]:
        self._check("score")
        given = [self._host.tokenizer.encode(text) for text in continuations]
        self._fit(max(map(len, given), default=0) - 1, "scoring")
        parts = [ScorePart(tokens, len(self._tokens)) for tokens in given]
        running = [part for part in parts if part.given]
        if running:
            await self._call(partial(self._host.core.score, self._ident, running), *running)
        self.usage += Usage(scored=sum(map(len, given)))
        return [part.scored for part in parts]

    async def logits(self) -> Logits:
        self._check("read logits")
        job = Read()
        await self._call(partial(self._host.core.start, self._ident, job), job)
        return job.logits

    def rewind(self, to: int) -> None:
        self._check("rewind")
        if not 1 <= to <= len(self._tokens):
            raise InputError(
                f"rewind to {to!r} tokens; it must be 1 to {len(self._tokens)}, all it has"
            )
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
        room = self._host.config.context_length - len(self._tokens)
        if more >= room:
            raise ContextOverflow(
                f"{action} {more} tokens to {len(self._tokens)} leaves no room in a context of "
                f"{self._host.config.context_length}: shorten one of them"
            )

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
