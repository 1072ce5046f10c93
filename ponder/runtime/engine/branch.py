"""A branch of the own engine, as its user holds it: its journal, and calls that wait for the
engine's thread.

Forking, rewinding, sharing, pinning and closing only post commands, so they are synchronous;
commands are obeyed in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ponder.runtime.confidence import check_confidence
from ponder.runtime.engine import refusals
from ponder.runtime.engine.choice import choice
from ponder.runtime.engine.edits import Edit, join, splice
from ponder.runtime.engine.handle import Handle
from ponder.runtime.engine.jobs import Decode, Prefill
from ponder.runtime.engine.journal import Journal
from ponder.runtime.engine.readings import (
    Embedding,
    HeadReading,
    Reading,
    ScorePart,
    SpanLogits,
    mean,
    stretches,
)
from ponder.runtime.engine.stream import Stream
from ponder.runtime.engine.text import TextTail
from ponder.runtime.picking import FULL, Choose
from ponder.runtime.runners.sampler import make_rule
from ponder.runtime.standing import Leaving, Origin, Standing
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


class LocalBranch(Leaving):
    """A `Branch` of a `LocalEngine`.

    Closing it while it extends ends the decode with `Finish.CANCELLED`; closing it during any other
    call makes that call raise `BranchClosed`.
    """

    resent = 0

    def __init__(
        self, handle: Handle, origin: Origin, journal: Journal, prompt_length: int, usage: Usage
    ) -> None:
        self.path = handle.path
        self.usage = usage
        self._lane = handle
        self._core = handle.host.core
        self._tokenizer = handle.host.tokenizer
        self._context = handle.host.config.context_length
        self._journal = journal
        self._prompt = prompt_length
        self._origin = origin
        self._key = handle.path.key()

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(self._journal.tokens)

    @property
    def tail(self) -> Sequence[int]:
        return tuple(self._journal.tail)

    @property
    def text(self) -> str:
        return self._tokenizer.decode(self._journal.tokens[self._prompt :])

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[LocalBranch]:
        self._lane.check("fork")
        origins = self._origin.fork(n, first, name)
        handles = [Handle(self._lane.host, origin.path, self._lane) for origin in origins]
        self._lane.post(self._core.fork, [handle.ident for handle in handles])
        return [
            LocalBranch(handle, origin, self._journal.fork(), self._prompt, Usage())
            for handle, origin in zip(handles, origins, strict=True)
        ]

    def standing(self) -> Standing:
        refusals.check_plain(self.path, self._journal, live=self._lane.live)
        prompt, said = self._journal.tokens[: self._prompt], self._journal.tokens[self._prompt :]
        return self._origin.standing(prompt, said, self._journal.own)

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

    async def draw(self, choose: Choose) -> Segment:
        self._lane.check("draw on")
        self._predict("draw on")
        room = self._context - self._journal.end
        segment = await choice(self._lane, self._core, choose) if room > 0 else FULL
        self._journal.tokens += segment.tokens
        self.usage += segment.usage
        return segment

    async def append(self, text: str) -> None:
        self._lane.check("append to")
        given = self._tokenizer.encode(text)
        self._fit(len(given), "appending")
        if not given:
            return
        start = len(self._journal.tokens)
        job = Prefill(len(given), start - 1)
        try:
            await self._lane.call(partial(self._core.start, self._lane.ident, job, given), job)
        except BaseException:
            self._lane.post(self._core.truncate, start)
            raise
        finally:
            self.usage += job.usage
        self._journal.tokens += given

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        self._lane.check("score")
        given = [self._lane.host.encode(each, bare=True) for each in continuations]
        self._predict("score")
        self._fit(max(map(len, given), default=0) - 1, "scoring")
        parts = [ScorePart(tokens, len(self._journal.tokens)) for tokens in given]
        await self._read([part for part, tokens in zip(parts, given, strict=True) if tokens])
        return [part.scored for part in parts]

    async def logits(self) -> Logits:
        (logits,) = await self.span_logits(len(self._journal.tokens) - 1, len(self._journal.tokens))
        return logits

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        self._lane.check("read logits of")
        self._predict("read logits of")
        await self._read(parts := [SpanLogits(*ends) for ends in self._stretches(start, stop)])
        return [logits for part in parts for logits in part.logits]

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        self._lane.check("read")
        stop = len(self._journal.tokens)
        ends = self._stretches(stop - 1 if start is None else start, stop)
        parts = [HeadReading(self._lane.host.head(head), *each) for each in ends]
        await self._read(parts)
        return [output for part in parts for output in part.outputs]

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        self._lane.check("embed")
        refusals.check_pooling(pooling)
        stop = len(self._journal.tokens)
        refusals.check_span(self.path, start, stop, stop)
        ends = self._stretches(stop - 1 if pooling == "last" else start, stop)
        parts = [Embedding(*each) for each in ends]
        await self._read(parts)
        return mean(parts)

    def rewind(self, to: int) -> None:
        self._lane.check("rewind")
        refusals.check_rewind(to, len(self._journal.tokens))
        self._journal.truncate(to)
        self._prompt = min(self._prompt, to)
        self._lane.post(self._core.truncate, to)

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._lane.check("splice")
        self._lane.check_mode(mode)
        self._lane.check_dead("splice", "splice before it shares, or another branch")
        given = self._tokenizer.encode(text) if text else []
        check_range(start, stop, len(self._journal.tokens), len(given))
        edit = splice(self._journal, start, stop, given, mode)
        if edit is not None:
            await self._edit(edit, "splicing")
            self._prompt = moved(self._prompt, start, stop, len(given))

    async def join(
        self, others: Sequence[LocalBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._lane.check("join others to")
        self._lane.check_mode(mode)
        lanes = [other._lane for other in others]
        self._lane.check_kin("join", lanes, self._lane.ident, "forks of this branch")
        for lane in lanes:
            lane.check("join")
        if mode is not SpliceMode.REENCODE:
            for lane in (self._lane, *lanes):
                lane.check_dead("join", "join with mode REENCODE")
        edit = join(self._journal, [other._journal for other in others], mode)
        if edit is not None:
            await self._edit(edit, "joining", lanes)

    def share(self, others: Sequence[LocalBranch]) -> None:
        self._lane.check("share others with")
        refusals.check_live_views(self._lane.host.name, self._lane.host.capabilities.live_views)
        lanes = [other._lane for other in others]
        self._lane.check_kin("share", lanes, self._lane.parent, "other forks of the same branch")
        for lane in lanes:
            lane.check_open()
        self._lane.live = True
        self._lane.post(self._core.share, [lane.ident for lane in lanes])

    def pin(self) -> None:
        self._lane.pin(+1)

    def unpin(self) -> None:
        self._lane.pin(-1)

    def close(self) -> None:
        self._lane.close()

    def begin_decode(self, params: Sampling, deadline: float | None, *, announce: bool) -> Decode:
        """Start a decode; `end_decode` must follow."""
        self._lane.check("extend")
        self._predict("extend")
        host = self._lane.host
        check_confidence(host.name, params.confidence, host.capabilities.confidence)
        limit = min(params.max_tokens, self._context - self._journal.end)
        job = Decode(
            make_rule(params, host.config.vocabulary),
            self._key,
            limit=limit,
            end_tokens=self._tokenizer.end_tokens,
            deadline=deadline,
            tail=TextTail(self._tokenizer, params.stop) if announce or params.stop else None,
            announce=announce,
            confidence=params.confidence,
            follower=self._lane.follow(params, self._journal.tokens),
        )
        if limit < 1:
            job.close(Finish.LENGTH)
        else:
            self._lane.begin(partial(self._core.start, self._lane.ident, job), job)
        return job

    def end_decode(self, job: Decode) -> Segment:
        """Commit what was drawn; a decode still running is cancelled."""
        job.end()
        self._lane.ended()
        segment, start = job.segment(self._tokenizer.decode), len(self._journal.tokens)
        if job.error is None:
            self._journal.tokens += segment.tokens
        self.usage += segment.usage
        return self._lane.with_calls(segment, start)

    def drop_decode(self, job: Decode) -> None:
        """After a failure the branch keeps what was committed before."""
        if job.drawn:
            self._lane.post(self._core.truncate, len(self._journal.tokens))

    async def _edit(self, edit: Edit, action: str, others: Sequence[Handle] = ()) -> None:
        refusals.check_positions(action, edit.journal.end, self._journal.end, self._context)
        job = Prefill(edit.given, edit.reached, waits=edit.waits)
        idents = [other.ident for other in others]
        command = partial(self._core.edit, self._lane.ident, edit, idents, job)
        try:
            await self._lane.call(command, job)
        except BaseException:
            self._lane.post(self._core.replace, self._journal.copy())
            raise
        finally:
            self.usage += job.usage
        self._journal = edit.journal

    async def _read(self, readings: Sequence[Reading]) -> None:
        """Charged for each token read, of those readings that came to their end."""
        try:
            if readings:
                command = partial(self._core.read, self._lane.ident, readings)
                await self._lane.call(command, *readings)
        finally:
            self.usage = sum((reading.usage for reading in readings), self.usage)

    def _stretches(self, start: int, stop: int) -> list[tuple[int, int]]:
        refusals.check_span(self.path, start, stop, len(self._journal.tokens))
        return list(stretches(self._journal, start, stop, live=self._lane.live))

    def _predict(self, action: str) -> None:
        refusals.check_speaks(action, self._lane.host.config, self._lane.host.heads)

    def _fit(self, more: int, action: str) -> None:
        refusals.check_room(action, more, self._journal.end, self._context)
