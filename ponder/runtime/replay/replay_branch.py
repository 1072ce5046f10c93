"""A branch served from a recording: its journal grows by recorded tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ponder.runtime.errors import BranchClosed, CapabilityError, InputError
from ponder.runtime.gate import Gate
from ponder.runtime.picking import FULL, Choose, picked
from ponder.runtime.replay import codec
from ponder.runtime.replay.asked import Asked, resent_by, sampling_data
from ponder.runtime.replay.codec import Data
from ponder.runtime.replay.past import Past, prompt_data
from ponder.runtime.replay.reading import Found
from ponder.runtime.standing import Leaving, Origin, Standing
from ponder.runtime.tokens import check_range
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
    from ponder.runtime.replay.replaying import ReplayEngine


class ReplayBranch(Leaving):
    """A `Branch` of a `ReplayEngine`."""

    def __init__(
        self,
        engine: ReplayEngine,
        origin: Origin,
        past: Past,
        charge: Usage,
        parent: ReplayBranch | None = None,
    ) -> None:
        self.path = origin.path
        self.usage = charge
        self._engine = engine
        self._past = past
        self._parent = parent
        self._origin = origin
        self._gate = Gate(self.path, engine.name, engine.check_open)
        self.pin, self.unpin = self._gate.pin, self._gate.unpin
        engine.adopt(+1)

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(self._past.tokens)

    @property
    def tail(self) -> Sequence[int]:
        return self._past.tail

    @property
    def text(self) -> str:
        said = self._past.said
        return self._engine.spell(said) if said else ""

    @property
    def resent(self) -> int:
        if self._engine.capabilities.fork == "kv":
            return 0
        resent: int = self._engine.fact(resent_by(self._past), str(self.path))
        return resent

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[ReplayBranch]:
        self._gate.check("fork")
        return [
            ReplayBranch(self._engine, origin, self._past.fork(), Usage(), self)
            for origin in self._origin.fork(n, first, name)
        ]

    def standing(self) -> Standing:
        self._engine.check_refused(self._ask("standing", {}))
        return self._origin.standing(None, self._past.said, self._past.own)

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        self._gate.check("extend")
        try:
            given, timed = sampling_data(params), deadline is not None
            found = await self._serve("extend", given, timed=timed)
        except BranchClosed:  # meanwhile
            return Segment(text="", tokens=(), logprobs=(), finish=Finish.CANCELLED, usage=Usage())
        segment = codec.segment_from(found.value, found.told)
        self._past.tokens += segment.tokens
        return segment

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        """In one piece."""
        segment = await self.extend(params, deadline=deadline)
        if segment.text:
            yield Delta(text=segment.text)
        yield Delta(text="", segment=segment)

    async def draw(self, choose: Choose) -> Segment:
        row = codec.shown_from((await self._serve("draw", {})).value)
        if row is None:
            return FULL
        ends = self._engine.vocabulary().ends
        with self._gate.call("draw on"):
            token = await choose(row)
            self._gate.check_open()
            segment = picked(token, row, ends, self._engine.spell)
        self._past.tokens += segment.tokens
        self.usage += segment.usage
        return segment

    async def append(self, text: str) -> None:
        at = len(self._past.tokens)
        await self._edit("append", {"text": text}, at, at)

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        found = await self._serve("score", {"continuations": list(map(prompt_data, continuations))})
        return codec.scored_from(found.value)

    async def logits(self) -> Logits:
        (logits,) = codec.rows_from((await self._serve("logits", {})).value)
        return logits

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        found = await self._serve("span_logits", {"start": start, "stop": stop})
        return list(codec.rows_from(found.value))

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        return codec.rows_from((await self._serve("read", {"head": head, "start": start})).value)

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        found = await self._serve("embed", {"pooling": pooling, "start": start})
        (vector,) = codec.rows_from(found.value)
        return vector

    def rewind(self, to: int) -> None:
        self._gate.check_rewind(to, len(self._past.tokens))
        self._engine.check_refused(self._ask("rewind", {"to": to}))
        self._past.rewind(to)

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check("splice")
        self._check_mode(mode)
        check_range(start, stop, len(self._past.tokens), len(text))
        given = {"start": start, "stop": stop, "text": text, "mode": mode.value}
        await self._edit("splice", given, start, stop, mode)

    async def join(
        self, others: Sequence[ReplayBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check("join others to")
        self._check_mode(mode)
        for other in others:
            other._gate.check_open()
        self._check_kin("join", others, self, "forks of this branch")
        at = len(self._past.tokens)
        given = {"others": self._named(others), "mode": mode.value}
        await self._edit("join", given, at, at, mode)

    def share(self, others: Sequence[ReplayBranch]) -> None:
        self._gate.check("share others with")
        if not self._engine.capabilities.live_views:
            raise CapabilityError(
                f"engine {self._engine.name!r} has no live views; use one that has them, or append "
                "what others said"
            )
        self._check_kin("share", others, self._parent, "other forks of the same branch")
        asked = self._ask("share", {"others": self._named(others)})
        self._engine.check_refused(asked)
        self._past.mark("share", asked.given)

    def close(self) -> None:
        if self._gate.close():
            self._engine.adopt(-1)

    async def _edit(
        self,
        kind: str,
        given: Data,
        start: int,
        stop: int,
        mode: SpliceMode = SpliceMode.REENCODE,
    ) -> None:
        found = await self._serve(kind, given)
        if mode is not SpliceMode.REENCODE:
            self._past.mark(kind, given)
        self._past.splice(start, stop, found.value["tokens"])

    async def _serve(self, kind: str, given: Data, *, timed: bool = False) -> Found:
        with self._gate.call(kind):
            await asyncio.sleep(0)  # as every call, it lets others have their turn
            self._gate.check_open()
            found = self._engine.serve(self._ask(kind, given), timed=timed)
        self.usage += found.charged
        return found

    def _ask(self, kind: str, given: Data) -> Asked:
        return Asked(kind=kind, path=self.path, past=self._past.digest, given=given)

    def _check_mode(self, mode: SpliceMode) -> None:
        if mode not in self._engine.capabilities.splice:
            raise CapabilityError(
                f"engine {self._engine.name!r} cannot keep KV across an edit (mode {mode.name}); "
                "use mode REENCODE, or an engine that can"
            )

    def _check_kin(
        self,
        action: str,
        others: Sequence[ReplayBranch],
        parent: ReplayBranch | None,
        allowed: str,
    ) -> None:
        kin = all(o._parent is parent is not None and o is not self for o in others)
        if not kin or len(set(others)) < len(others):
            raise InputError(
                f"cannot {action} {[str(o.path) for o in others]!r} with {self.path}: it takes "
                f"{allowed}, each once"
            )

    @staticmethod
    def _named(others: Sequence[ReplayBranch]) -> list[list[str]]:
        """As it was asked for when it was recorded."""
        return [[str(other.path), other._past.digest] for other in others]
