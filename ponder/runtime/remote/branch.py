"""A branch kept as text: its past is sent with each call, so forking and rewinding cost nothing
here. Its journal is counted in Unicode code points.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ponder.runtime.errors import BranchClosed, CapabilityError, InputError, PonderError
from ponder.runtime.remote.batch import Member, ended
from ponder.runtime.remote.growing import Growing
from ponder.runtime.remote.history import History
from ponder.runtime.seeds import BranchPath
from ponder.runtime.tokens import check_range, moved
from ponder.runtime.values import (
    Delta,
    Finish,
    Logits,
    Pooling,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Usage,
)

if TYPE_CHECKING:
    from ponder.runtime.remote.engine import RemoteEngine


class RemoteBranch:
    """A `Branch` of a `RemoteEngine`."""

    def __init__(
        self,
        engine: RemoteEngine,
        path: BranchPath,
        history: History,
        parent: RemoteBranch | None = None,
        family: object | None = None,
    ) -> None:
        self.path = path
        self.usage = Usage()
        self._engine = engine
        self._history = history
        self._parent = parent
        self._own = history.length if parent else 0
        self._family = family
        """Equal for branches of one fork that are still as they were forked, or extended alike."""
        self._forks = 0
        self._pins = 0
        self._open = True
        engine.adopt(+1)

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(map(ord, self._history.journal))

    @property
    def tail(self) -> Sequence[int]:
        return self.tokens[self._own :]

    @property
    def text(self) -> str:
        return self._history.said

    @property
    def resent(self) -> int:
        return self._history.tokens

    def fork(self, n: int) -> list[RemoteBranch]:
        self._check()
        if n < 1:
            raise InputError(f"fork into {n!r} branches; it must be at least 1")
        ordinal, self._forks = self._forks, self._forks + 1
        family = object()
        return [
            RemoteBranch(self._engine, self.path.child(ordinal, i), self._history, self, family)
            for i in range(n)
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        self._check()
        if self._late(deadline):
            return self._commit(None, Finish.BUDGET)
        live = deadline is not None or self._engine.manner.cuts(params)
        member = self._member(params, live=live, pieces=None)
        async with self._charged(member):
            whole = await ended(member.done, member, self._left(deadline))
        return self._commit(member, None if whole else Finish.BUDGET)

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        self._check()
        if self._late(deadline):
            yield Delta(text="", segment=self._commit(None, Finish.BUDGET))
            return
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        member = self._member(params, live=True, pieces=pieces)
        given, finish = "", None
        try:
            async with self._charged(member):
                while True:
                    turn = asyncio.ensure_future(pieces.get())
                    if not await ended(turn, member, self._left(deadline)):
                        finish = Finish.BUDGET
                        break
                    piece = turn.result()
                    if piece is None:
                        await member.done
                        break
                    given += piece
                    yield Delta(text=piece)
        except (GeneratorExit, PonderError):
            member.growing.text = given  # what its reader has seen is what there is
            self._commit(member, Finish.CANCELLED)
            raise
        segment = self._commit(member, finish)
        # A stop string that only the end of the reply told is part of the text too.
        yield Delta(text=segment.text.removeprefix(given))
        yield Delta(text="", segment=segment)

    async def append(self, text: str) -> None:
        self._check()
        self._say(text)

    async def score(self, continuations: Sequence[str]) -> list[Scored]:
        self._check()
        scored = await self._engine.score(self.path, self._history, continuations)
        self._charge(scored.usage)
        return list(scored.results)

    async def logits(self) -> Logits:
        raise self._untold("logits")

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        raise self._untold("logits")

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        raise self._untold(f"hidden states, as head {head!r} reads,")

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        raise self._untold("hidden states")

    def rewind(self, to: int) -> None:
        self._check()
        most = self._history.length
        if not 1 <= to <= most:
            raise InputError(f"rewind to {to!r} tokens; it must be 1 to {most}, all it has")
        self._edit(to, most, "")

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._check()
        self._check_mode(mode)
        check_range(start, stop, self._history.length, len(text))
        self._edit(start, stop, text)

    async def join(
        self, others: Sequence[RemoteBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._check()
        self._check_mode(mode)
        for other in others:
            other._check()
        if any(other._parent is not self for other in others) or len(set(others)) < len(others):
            raise InputError(
                f"cannot join {[str(o.path) for o in others]!r} with {self.path}: it takes forks "
                "of this branch, each once"
            )
        self._say("".join(other._history.journal[other._own :] for other in others))

    def share(self, others: Sequence[RemoteBranch]) -> None:
        self._check()
        raise CapabilityError(
            f"engine {self._engine.name!r} has no live views; use a model's engine, or append what "
            "others said"
        )

    def pin(self) -> None:
        """Nothing is kept here that could be taken away."""
        self._check()
        self._pins += 1

    def unpin(self) -> None:
        self._check()
        if not self._pins:
            raise InputError(f"branch {self.path} is not pinned; unpin once for each pin")
        self._pins -= 1

    def close(self) -> None:
        if self._open:
            self._open = False
            self._engine.adopt(-1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if not self._open:
            raise BranchClosed(f"branch {self.path} is closed")
        self._engine.check_open()

    def _check_mode(self, mode: SpliceMode) -> None:
        if mode is not SpliceMode.REENCODE:
            raise CapabilityError(
                f"engine {self._engine.name!r} has no KV to keep (mode {mode.name}); use mode "
                "REENCODE, or a model's engine"
            )

    def _untold(self, what: str) -> CapabilityError:
        self._check()
        return CapabilityError(f"{self._engine.name!r} tells no {what}; take an engine that does")

    def _late(self, deadline: float | None) -> bool:
        return deadline is not None and self._engine.clock() >= deadline

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._engine.clock())

    def _member(
        self, params: Sampling, *, live: bool, pieces: asyncio.Queue[str | None] | None
    ) -> Member:
        manner = self._engine.manner
        seed, place = self._engine.seed(self.path, self._history.length)
        growing = Growing(params, manner.name, cut=manner.cuts(params))
        member = Member(self.path, seed, self._history, params, growing, live=live, pieces=pieces)
        group = None
        if self._family is not None and pieces is None:
            group = (self._family, self._history.said, params, live)
        self._engine.enter(member, place, group)
        return member

    @asynccontextmanager
    async def _charged(self, member: Member) -> AsyncGenerator[None]:
        """Whatever happens inside is charged for; what came before a cancellation is kept."""
        try:
            yield
        except asyncio.CancelledError:
            self._leave(member)
            self._commit(member, Finish.CANCELLED)
            raise
        except BaseException:
            self._leave(member)
            raise
        self._leave(member)

    def _leave(self, member: Member) -> None:
        self._engine.leave(member)
        if not member.charged and (member.growing.touched or member.first):
            member.reckon(None, None)
        self._charge(member.usage)

    def _commit(self, member: Member | None, finish: Finish | None) -> Segment:
        if member is None:
            return Segment(text="", tokens=(), logprobs=(), finish=Finish.BUDGET, usage=Usage())
        growing = member.growing
        tools = growing.tool_calls() if finish is None else ()
        self._say(growing.text)
        return Segment(
            text=growing.text,
            tokens=tuple(map(ord, growing.text)),
            logprobs=tuple(growing.logprobs),
            finish=finish or growing.finish or Finish.CANCELLED,
            usage=member.usage,
            reasoning=growing.reasoning,
            tool_calls=tools,
        )

    def _say(self, text: str) -> None:
        self._history = self._history.and_then(text)

    def _edit(self, start: int, stop: int, text: str) -> None:
        self._history = self._history.with_text(start, stop, text)
        self._own = moved(self._own, start, stop, len(text))
        self._family = None

    def _charge(self, usage: Usage) -> None:
        self.usage += usage
        self._engine.charge(usage)
