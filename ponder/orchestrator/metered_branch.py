"""A branch that pays for what it does (see `metered`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

from ponder.orchestrator.calls import (
    Call,
    Meter,
    Turn,
    cut,
    limited,
    number,
    paced,
    said,
    scores,
    time_limit,
)
from ponder.orchestrator.channel import closing
from ponder.orchestrator.ledger import Account, Grant
from ponder.runtime import (
    Branch,
    BranchPath,
    Choose,
    Delta,
    InputError,
    Leaving,
    Logits,
    Pooling,
    Prompt,
    Row,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Standing,
    Tokens,
    Usage,
)


class Home(Protocol):
    """The engine, as its branches see it."""

    @property
    def meter(self) -> Meter: ...

    @property
    def account(self) -> Account: ...

    def count(self, prompt: Prompt) -> int: ...

    def clock(self) -> float: ...

    def deadline(self, asked: float | None) -> float | None: ...


class MeteredBranch(Leaving):
    """A branch that pays for what it does."""

    __slots__ = ("_home", "_inner", "_sequence")

    def __init__(self, inner: Branch, home: Home) -> None:
        self._inner = inner
        self._home = home
        self._sequence = 0
        home.meter.branches.add(inner)

    @property
    def path(self) -> BranchPath:
        return self._inner.path

    @property
    def tokens(self) -> Sequence[int]:
        return self._inner.tokens

    @property
    def tail(self) -> Sequence[int]:
        return self._inner.tail

    @property
    def text(self) -> str:
        return self._inner.text

    @property
    def usage(self) -> Usage:
        return self._inner.usage

    @property
    def resent(self) -> int:
        return self._inner.resent

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Branch]:
        forks = self._inner.fork(n, first, name=name)
        return [MeteredBranch(child, self._home) for child in forks]

    def standing(self) -> Standing:
        return self._inner.standing()

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        call = self._call("extend")
        grant, room = await call.room(params.max_tokens, self._inner.resent)
        async with self._paid(call, grant) as told:
            until = self._home.deadline(deadline)
            segment = await self._inner.extend(limited(params, room), deadline=until)
            segment = cut(segment, params, room)
            told.update(said(segment))
        return segment

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        call = self._call("extend")
        grant, room = await call.room(params.max_tokens, self._inner.resent)
        async with self._paid(call, grant, nullcontext()) as told:
            last: Delta | None = None
            until = self._home.deadline(deadline)
            pieces = self._inner.stream(limited(params, room), deadline=until)
            async with closing(paced(pieces, self._home.meter.slots)) as turns:
                async for delta in turns:
                    if delta.segment is None:
                        yield delta
                    else:
                        last = replace(delta, segment=cut(delta.segment, params, room))
                        told.update(said(cut(delta.segment, params, room)))
        # Paid before it is given: the reader may leave with it and never close the stream.
        if last is not None:
            yield last

    async def draw(self, choose: Choose) -> Segment:
        call = self._call("extend")
        grant = await call.reserve(self._inner.resent + 1, least=self._inner.resent + 1)
        turn = Turn(self._home.meter.slots)

        async def thinking(row: Row) -> int | None:
            turn.leave()  # who picks may call models too, and with one slot would wait for itself
            return await choose(row)

        async with self._paid(call, grant, turn) as told:
            segment = await self._inner.draw(thinking)
            told.update(said(segment))
        return segment

    async def append(self, text: str) -> None:
        async with self._whole("append", self._home.count(text)):
            await self._inner.append(text)

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        tokens = sum(self._inner.resent + self._home.count(c) for c in continuations)
        async with self._whole("score", tokens) as told:
            scored = await self._inner.score(continuations)
            told["logprobs"] = scores(scored)
        return scored

    async def logits(self) -> Logits:
        async with self._whole("logits", 1):
            return await self._inner.logits()

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        async with self._whole("logits", max(0, stop - start)):
            return await self._inner.span_logits(start, stop)

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        tokens = 1 if start is None else max(0, len(self.tokens) - start)
        async with self._whole("read", self._inner.resent + tokens) as told:
            outputs = await self._inner.read(head, start)
            told.update(head=head, outputs=[[number(v) for v in values] for values in outputs])
        return outputs

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        tokens = 1 if pooling == "last" else max(0, len(self.tokens) - start)
        async with self._whole("embed", tokens):
            return await self._inner.embed(pooling, start)

    def rewind(self, to: int) -> None:
        self._inner.rewind(to)

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        again = len(self.tokens) - stop if mode is SpliceMode.REENCODE else 0
        tokens = (self._home.count(text) if text else 0) + max(0, again)
        async with self._whole("splice", tokens) as told:
            told["mode"] = mode.value
            await self._inner.splice(start, stop, text, mode)

    async def join(self, others: Sequence[Branch], mode: SpliceMode = SpliceMode.REENCODE) -> None:
        inner = self.inside(others)
        again = sum(len(other.tail) for other in inner) if mode is SpliceMode.REENCODE else 0
        async with self._whole("join", again) as told:
            told["mode"] = mode.value
            await self._inner.join(inner, mode)

    def share(self, others: Sequence[Branch]) -> None:
        self._inner.share(self.inside(others))

    def pin(self) -> None:
        self._inner.pin()

    def unpin(self) -> None:
        self._inner.unpin()

    def close(self) -> None:
        self._home.meter.branches.discard(self._inner)
        self._inner.close()

    @staticmethod
    def inside(others: Sequence[Branch]) -> list[Branch]:
        inner = [other._inner for other in others if isinstance(other, MeteredBranch)]
        if len(inner) < len(others):
            raise InputError("a metered branch takes branches of its own run; open them there")
        return inner

    def _call(self, kind: str) -> Call:
        self._sequence += 1
        home, path, nth = self._home, self._inner.path, self._sequence
        return Call(meter=home.meter, account=home.account, path=path, sequence=nth, kind=kind)

    @asynccontextmanager
    async def _paid(
        self, call: Call, grant: Grant, turn: AbstractAsyncContextManager[object] | None = None
    ) -> AsyncGenerator[dict[str, Any]]:
        """Wait for a turn; settle and record what happens inside. Without a turn it is free."""
        before, told, begun = self._inner.usage, dict[str, Any](), False
        try:
            async with turn or self._home.meter.slots:
                call.check_time(self._home.clock())
                begun = True
                yield told
        except BaseException as error:
            told["error"] = type(error).__name__
            raise
        finally:
            if begun:
                call.settle(grant, self._inner.usage - before, told)
            else:
                self._home.meter.ledger.release(grant)

    @asynccontextmanager
    async def _whole(self, kind: str, tokens: int) -> AsyncGenerator[dict[str, Any]]:
        """A call that needs all its tokens or none."""
        call = self._call(kind)
        grant = await call.reserve(tokens, least=tokens)
        seconds = self._home.meter.seconds
        async with self._paid(call, grant) as told, time_limit(seconds, self._home.clock()):
            yield told
