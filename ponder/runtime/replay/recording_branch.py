"""A branch that is recorded as it works."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ponder.runtime.api import Branch
from ponder.runtime.errors import InputError
from ponder.runtime.picking import FULL, Choose, Row
from ponder.runtime.replay import codec
from ponder.runtime.replay.asked import Asked, resent_by, sampling_data, spelling_of
from ponder.runtime.replay.codec import Data
from ponder.runtime.replay.past import Past, prompt_data
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Leaving, Standing
from ponder.runtime.values import (
    Delta,
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

if TYPE_CHECKING:
    from ponder.runtime.replay.recording import RecordingEngine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call:
    asked: Asked
    before: Usage
    """Of the branch."""


class RecordingBranch(Leaving):
    """A `Branch` of a `RecordingEngine`: another engine's, whose calls are kept."""

    def __init__(self, home: RecordingEngine, inner: Branch, past: Past) -> None:
        self._home = home
        self._inner = inner
        self._past = past
        self._under_way = 0

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
        text = self._inner.text
        self._home.note(spelling_of(self._past.said), text)
        return text

    @property
    def usage(self) -> Usage:
        return self._inner.usage

    @property
    def resent(self) -> int:
        resent = self._inner.resent
        if self._home.capabilities.fork == "text":
            self._home.note(resent_by(self._past), resent)
        return resent

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Branch]:
        forks = self._inner.fork(n, first, name=name)
        return [RecordingBranch(self._home, fork, self._past.fork()) for fork in forks]

    def standing(self) -> Standing:
        with self._quick("standing", {}):
            return self._inner.standing()

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        async with self._call("extend", sampling_data(params)) as call:
            segment = await self._inner.extend(params, deadline=deadline)
            await self._keep_segment(call, segment)
        return segment

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        async with self._call("extend", sampling_data(params)) as call:
            pieces = self._inner.stream(params, deadline=deadline)
            try:
                async for delta in pieces:
                    if delta.segment is not None:
                        self._follow()
                        await self._keep_segment(call, delta.segment)
                    yield delta
            finally:
                await _closed(pieces)

    async def draw(self, choose: Choose) -> Segment:
        """What is kept is what was shown: whoever picks is asked again when it is replayed."""
        asked = self._ask("draw", {})

        async def watched(row: Row) -> int | None:
            await self._home.keep(asked, codec.shown_data(row), Usage())
            return await choose(row)

        self._home.vocabulary()
        segment = await self._inner.draw(watched)
        if segment == FULL:
            await self._home.keep(asked, codec.shown_data(None), Usage())
        self._follow()
        if segment.text:
            self._home.spell(segment.tokens)
        return segment

    async def append(self, text: str) -> None:
        at = len(self._past.tokens)
        await self._edit("append", {"text": text}, self._inner.append(text), at, at)

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        given = {"continuations": list(map(prompt_data, continuations))}
        return await self._read("score", given, self._inner.score(continuations), codec.scored_data)

    async def logits(self) -> Logits:
        return await self._read("logits", {}, self._inner.logits(), lambda v: codec.rows_data([v]))

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        given = {"start": start, "stop": stop}
        work = self._inner.span_logits(start, stop)
        return await self._read("span_logits", given, work, codec.rows_data)

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        given = {"head": head, "start": start}
        return await self._read("read", given, self._inner.read(head, start), codec.rows_data)

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        given = {"pooling": pooling, "start": start}
        work = self._inner.embed(pooling, start)
        return await self._read("embed", given, work, lambda v: codec.rows_data([v]))

    def rewind(self, to: int) -> None:
        with self._quick("rewind", {"to": to}):
            self._inner.rewind(to)
        self._past.rewind(to)

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        given = {"start": start, "stop": stop, "text": text, "mode": mode.value}
        work = self._inner.splice(start, stop, text, mode)
        await self._edit("splice", given, work, start, stop, mode)

    async def join(self, others: Sequence[Branch], mode: SpliceMode = SpliceMode.REENCODE) -> None:
        at = len(self._past.tokens)
        given = {"others": self._named(others), "mode": mode.value}
        await self._edit("join", given, self._inner.join(self._inside(others), mode), at, at, mode)

    def share(self, others: Sequence[Branch]) -> None:
        given = {"others": self._named(others)}
        with self._quick("share", given):
            self._inner.share(self._inside(others))
        self._past.mark("share", given)

    def pin(self) -> None:
        self._inner.pin()

    def unpin(self) -> None:
        self._inner.unpin()

    def close(self) -> None:
        self._inner.close()

    async def _read(
        self, kind: str, given: Data, work: Awaitable[T], encode: Callable[[T], Data]
    ) -> T:
        """A call that commits nothing."""
        async with self._call(kind, given) as call:
            result = await work
            await self._home.keep(call.asked, encode(result), self.usage - call.before)
        return result

    async def _edit(
        self,
        kind: str,
        given: Data,
        work: Awaitable[None],
        start: int,
        stop: int,
        mode: SpliceMode = SpliceMode.REENCODE,
    ) -> None:
        """A call that puts tokens in place of those from `start` on, of which `start` to `stop`
        made way for text.
        """
        async with self._call(kind, given) as call:
            await work
            if mode is not SpliceMode.REENCODE:
                self._past.mark(kind, given)
            tokens = self._inner.tokens[start:]
            self._past.splice(start, stop, tokens)
            await self._home.keep(call.asked, {"tokens": tokens}, self.usage - call.before)

    async def _keep_segment(self, call: _Call, segment: Segment) -> None:
        if segment.finish is Finish.CANCELLED:
            return
        asked = call.asked.cut if segment.finish is Finish.BUDGET else call.asked
        charged = self.usage - call.before
        await self._home.keep(asked, codec.segment_data(segment), charged, segment.usage)

    @asynccontextmanager
    async def _call(self, kind: str, given: Data) -> AsyncGenerator[_Call]:
        """Keep it if the engine refuses what is done inside; not where that may be since another
        call is under way.
        """
        call, alone = _Call(self._ask(kind, given), self.usage), not self._under_way
        self._under_way += 1
        try:
            yield call
        except InputError as error:
            if alone:
                await self._home.refused(call.asked, error, self.usage - call.before)
            raise
        finally:
            self._under_way -= 1
            self._follow()

    @contextmanager
    def _quick(self, kind: str, given: Data) -> Generator[None]:
        """As `_call`, of what is not awaited."""
        try:
            yield
        except InputError as error:
            if not self._under_way:
                self._home.note_refused(self._ask(kind, given), error)
            raise

    def _ask(self, kind: str, given: Data) -> Asked:
        return Asked(kind=kind, path=self.path, past=self._past.digest, given=given)

    def _follow(self) -> None:
        """A decode only adds tokens, cut short or not."""
        self._past.tokens[:] = self._inner.tokens

    @staticmethod
    def _named(others: Sequence[Branch]) -> list[list[str]]:
        """Branches with what they hold."""
        return [[str(o.path), o._past.digest] for o in others if isinstance(o, RecordingBranch)]

    @staticmethod
    def _inside(others: Sequence[Branch]) -> list[Branch]:
        inner = [other._inner for other in others if isinstance(other, RecordingBranch)]
        if len(inner) < len(others):
            raise InputError("a recorded branch takes branches of its own engine; open them there")
        return inner


async def _closed(pieces: AsyncIterator[Delta]) -> None:
    """A stream that its reader left early ends here and not when it is collected."""
    close: Callable[[], Awaitable[None]] | None = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
