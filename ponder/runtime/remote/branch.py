"""A branch kept as text that draws and scores at an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from ponder.runtime.errors import InputError, PonderError
from ponder.runtime.remote.batch import Member, ended
from ponder.runtime.remote.growing import Growing
from ponder.runtime.remote.history import History
from ponder.runtime.remote.text_branch import TextBranch
from ponder.runtime.standing import Origin
from ponder.runtime.values import Delta, Finish, Sampling, Scored, Segment, Tokens, Usage

if TYPE_CHECKING:
    from ponder.runtime.remote.engine import RemoteEngine

NOTHING = Segment(text="", tokens=(), logprobs=(), finish=Finish.BUDGET, usage=Usage())
"""What is drawn when it is too late."""


class RemoteBranch(TextBranch):
    """A `Branch` of a `RemoteEngine`."""

    def __init__(
        self,
        engine: RemoteEngine,
        origin: Origin,
        history: History,
        parent: RemoteBranch | None = None,
        family: object | None = None,
        *,
        own: int,
    ) -> None:
        super().__init__(engine, origin, history, parent, own=own)
        self._engine = engine
        self._family = family
        """Equal for branches of one fork that are still as they were forked, or extended alike."""
        self._asking: Member | None = None
        """What `extend` or `stream` under way waits for."""

    def _children(self, origins: Sequence[Origin]) -> Sequence[Self]:
        engine, history, family = self._engine, self._history, object()
        return [
            type(self)(engine, origin, history, self, family, own=history.length)
            for origin in origins
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        with self._gate.call("extend"):
            if self._late(deadline):
                return NOTHING
            live = deadline is not None or self._engine.manner.cuts(params)
            async with self._asked(params, live=live, pieces=None) as member:
                whole = await ended(member.done, member, self._left(deadline))
            return self._commit(member, None if whole else Finish.BUDGET)

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        with self._gate.call("extend"):
            if self._late(deadline):
                yield Delta(text="", segment=NOTHING)
                return
            pieces: asyncio.Queue[str | None] = asyncio.Queue()
            given, finish = "", None
            async with self._asked(params, live=True, pieces=pieces) as member:
                try:
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
                    raise
            segment = self._commit(member, finish)
        # A stop string that only the end of the reply told is part of the text too.
        yield Delta(text=segment.text.removeprefix(given))
        yield Delta(text="", segment=segment)

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        with self._gate.call("score"):
            scored = await self._engine.score(self.path, self._history, continuations)
        self._charge(scored.usage)
        self._gate.check_open()
        return list(scored.results)

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        raise self._untold(f"hidden states, as head {head!r} reads,")

    def close(self) -> None:
        """A decode under way ends with what has come."""
        super().close()
        if self._asking is not None:
            self._asking.settle()

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
    async def _asked(
        self, params: Sampling, *, live: bool, pieces: asyncio.Queue[str | None] | None
    ) -> AsyncGenerator[Member]:
        """Whatever happens inside is charged for, but a refusal; what came before a cancellation,
        or before a stream was left or broke, is kept.
        """
        member = self._asking = self._member(params, live=live, pieces=pieces)
        refused = cut = False
        try:
            yield member
        except InputError:
            refused = True
            raise
        except (asyncio.CancelledError, GeneratorExit):
            cut = True
            raise
        except PonderError:
            cut = pieces is not None
            raise
        finally:
            self._asking = None
            self._leave(member, refused=refused)
            if cut:
                self._commit(member, Finish.CANCELLED)

    def _leave(self, member: Member, *, refused: bool) -> None:
        self._engine.leave(member)
        begun = member.growing.touched or member.first
        if begun and not (member.charged or refused):
            member.reckon(None, None)
        self._charge(member.usage)

    def _commit(self, member: Member, finish: Finish | None) -> Segment:
        growing = member.growing
        whole = finish is None and growing.finish is not None
        tools = growing.tool_calls() if whole else ()
        self._say(growing.text)
        return Segment(
            text=growing.text,
            tokens=tuple(map(ord, growing.text)),
            logprobs=tuple(growing.logprobs),
            finish=finish or (growing.finish if self._gate.open else None) or Finish.CANCELLED,
            usage=member.usage,
            reasoning=growing.reasoning,
            tool_calls=tools,
            confidences=tuple(growing.confidences),
        )

    def _edit(self, start: int, stop: int, text: str) -> None:
        super()._edit(start, stop, text)
        self._family = None
