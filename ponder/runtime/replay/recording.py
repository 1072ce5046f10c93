"""An engine that is recorded as it works: each call's result goes into a file before its caller
gets it.

What is kept: results, and refusals that the same call would meet again. What is not: a call that
was cancelled or failed, which may go otherwise next time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path

from ponder.runtime.api import Branch, Engine
from ponder.runtime.capabilities import Capabilities
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import InputError
from ponder.runtime.replay import codec
from ponder.runtime.replay.asked import (
    VOCABULARY,
    Asked,
    count_of,
    encoding_of,
    opening,
    reopening,
    spelling_of,
)
from ponder.runtime.replay.codec import Data
from ponder.runtime.replay.past import Past
from ponder.runtime.replay.recording_branch import RecordingBranch
from ponder.runtime.replay.store import Row
from ponder.runtime.replay.vocabularies import vocabulary_data
from ponder.runtime.replay.writer import Writer
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Standing
from ponder.runtime.stats import EngineStats
from ponder.runtime.values import Prompt, Usage


class RecordingEngine:
    """An `Engine` that is another one, and keeps what it says. It closes that one with itself.

    It remembers how often each call was made: about a hundred bytes a call.
    """

    def __init__(self, engine: Engine, path: Path, *, model: str | None = None) -> None:
        """Any number of engines, in any number of processes, may record into one file.

        Args:
            engine: does the work.
            path: of the file; made where it does not exist, added to where it does.
            model: what the engine can be asked for by when it is replayed, beside its name.

        Raises:
            InputError: the file cannot be written, or holds something else.
        """
        self.engine = engine
        self._vocabulary: Vocabulary | None = None
        self.path = path
        self._writer = Writer(path)
        self._given: Counter[bytes] = Counter()
        try:
            self._introduce(engine, model or engine.name)
        except BaseException:
            self._writer.close()
            raise

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    @property
    def differing(self) -> int:
        """Calls that were on record already with another result. The first one is kept."""
        return self._writer.differing

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> RecordingBranch:
        work = self.engine.open(prompt, path=path, priority=priority, adapter=adapter)
        asked = opening(path, prompt, adapter)
        return await self._opened(work, asked, prompt, adapter, Standing(path=path))

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> RecordingBranch:
        work = self.engine.reopen(prompt, standing, priority=priority, adapter=adapter)
        asked = reopening(prompt, standing, adapter)
        return await self._opened(work, asked, prompt, adapter, standing)

    async def _opened(
        self,
        work: Awaitable[Branch],
        asked: Asked,
        prompt: Prompt,
        adapter: str | None,
        standing: Standing,
    ) -> RecordingBranch:
        try:
            inner = await work
        except InputError as error:
            await self.refused(asked, error)
            raise
        past = Past.opened(prompt, adapter, inner.tokens, standing)
        try:
            await self.keep(asked, {"tokens": past.tokens}, inner.usage)
        except BaseException:
            inner.close()
            raise
        return RecordingBranch(self, inner, past)

    def count(self, prompt: Prompt) -> int:
        count = self.engine.count(prompt)
        self.note(count_of(prompt), count)
        return count

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        tokens = self.engine.encode(prompt, bare=bare)
        self.note(encoding_of(prompt, bare=bare), list(tokens))
        return tokens

    def vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            self._vocabulary = self.engine.vocabulary()
            self.note(VOCABULARY, vocabulary_data(self._vocabulary))
        return self._vocabulary

    def spell(self, tokens: Sequence[int]) -> str:
        text = self.engine.spell(tokens)
        self.note(spelling_of(tokens), text)
        return text

    def clock(self) -> float:
        return self.engine.clock()

    def stats(self) -> EngineStats:
        return self.engine.stats()

    async def close(self) -> None:
        """Close the engine, and the file when everything is in it. Again is no harm."""
        try:
            await self.engine.close()
        finally:
            await asyncio.to_thread(self._writer.close)

    async def keep(
        self, asked: Asked, value: Data, charged: Usage, told: Usage | None = None
    ) -> None:
        """Put a call on record; back when it is in the file.

        Args:
            asked: the call.
            value: its result.
            charged: to the branch.
            told: what the result itself says that it cost, where it does.

        Raises:
            PonderError: the file does not take it.
        """
        usage = [codec.usage_data(charged), told and codec.usage_data(told)]
        await asyncio.wrap_future(self._writer.put(self._row(asked, value, usage)))

    async def refused(self, asked: Asked, error: InputError, charged: Usage | None = None) -> None:
        if type(error) in codec.REFUSALS.values():
            await self.keep(asked, codec.refusal(error), charged or Usage())

    def note(self, fact: Asked, value: object) -> None:
        """Put a fact on record, some time before the next call is."""
        if self._writer.open and not self._given[fact.key(self.name)]:
            self._writer.put(self._row(fact, {"fact": value}, None))

    def note_refused(self, asked: Asked, error: InputError) -> None:
        """As `refused`, of what is not awaited."""
        if type(error) in codec.REFUSALS.values():
            self._writer.put(self._row(asked, codec.refusal(error), None))

    def _row(self, asked: Asked, value: Data, usage: object) -> Row:
        first = asked.key(self.name)
        nth = self._given[first]
        self._given[first] += 1
        return Row(
            key=asked.key(self.name, nth),
            engine=self.name,
            seed=asked.seed,
            steps=asked.steps,
            kind=asked.kind,
            past=asked.past,
            given=asked.parameters,
            nth=nth,
            value=codec.to_bytes(value),
            usage=codec.to_bytes(usage),
        )

    def _introduce(self, engine: Engine, model: str) -> None:
        about = codec.to_bytes(codec.capabilities_data(engine.capabilities))
        if self._writer.introduce(engine.name, model, about) != about:
            raise InputError(
                f"{str(self.path)!r} holds calls of {engine.name!r} with other capabilities than "
                "it has now; record into another file"
            )
