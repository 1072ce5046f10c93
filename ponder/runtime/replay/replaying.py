"""An engine that serves what was recorded of another one, and computes nothing. What is not on
record it refuses; it never asks a model.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import ModelError
from ponder.runtime.remote.text_branch import no_token_ids
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
from ponder.runtime.replay.misses import missing, missing_fact
from ponder.runtime.replay.past import Past
from ponder.runtime.replay.reading import Found, Recording
from ponder.runtime.replay.replay_branch import ReplayBranch
from ponder.runtime.replay.vocabularies import vocabulary_from
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.stats import EngineStats, idle
from ponder.runtime.values import Prompt, Tokens


class ReplayEngine:
    """An `Engine` whose calls are on record. Its name and capabilities are those of the engine that
    was recorded, but for streams, which come in one piece; usage is what that one charged; its
    clock stands still.
    """

    def __init__(self, path: Path, *, model: str | None = None) -> None:
        """Open a recording.

        Args:
            path: of the file.
            model: the engine's name, or what it was opened as; None takes the only one there is.

        Raises:
            InputError: there is no such file or engine, or it is no recording of this format.
            PonderError: the recording is damaged.
        """
        self._recording = Recording(path)
        try:
            self.name, capabilities = self._recording.engine(model)
        except BaseException:
            self._recording.close()
            raise
        self.capabilities: Capabilities = replace(capabilities, stream=False)
        self._served: Counter[bytes] = Counter()
        self._branches = 0
        self._closed = False
        self._vocabulary: Vocabulary | None = None

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> ReplayBranch:
        asked = opening(path, prompt, adapter)
        return await self._opened(asked, prompt, adapter, Standing(path=path))

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> ReplayBranch:
        asked = reopening(prompt, standing, adapter)
        return await self._opened(asked, prompt, adapter, standing)

    async def _opened(
        self, asked: Asked, prompt: Prompt, adapter: str | None, standing: Standing
    ) -> ReplayBranch:
        self.check_open()
        await asyncio.sleep(0)
        found = self.serve(asked)
        past = Past.opened(prompt, adapter, found.value["tokens"], standing)
        origin = Origin(standing.path, None, standing.forks)
        return ReplayBranch(self, origin, past, found.charged)

    def count(self, prompt: Prompt) -> int:
        count: int = self.fact(count_of(prompt), _told(prompt))
        return count

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        tokens: list[int] = self.fact(encoding_of(prompt, bare=bare), _told(prompt))
        return tokens

    def vocabulary(self) -> Vocabulary:
        if not self.capabilities.token_ids:
            raise no_token_ids(self.name)
        if self._vocabulary is None:
            self._vocabulary = vocabulary_from(self.fact(VOCABULARY, "what its tokens spell"))
        return self._vocabulary

    def spell(self, tokens: Sequence[int]) -> str:
        text: str = self.fact(spelling_of(tokens), str(list(tokens)))
        return text

    def clock(self) -> float:
        return 0.0

    def stats(self) -> EngineStats:
        """Of this engine: it computes nothing, whatever the calls were charged when they were
        made.
        """
        return idle(self._branches)

    async def close(self) -> None:
        """Again is no harm."""
        if not self._closed:
            self._closed = True
            self._recording.close()

    def serve(self, asked: Asked, *, timed: bool = False) -> Found:
        """What the call gave.

        Args:
            asked: the call.
            timed: it has a deadline, so a result that a deadline cut is a result of it, too.

        Raises:
            NotRecorded: it was not made, or less often than now; says what comes near.
            PonderError: its record is damaged.
            InputError: as it was raised then.
        """
        self.check_open()
        found = self._find(asked, timed)
        codec.raise_refusal(found.value)
        return found

    def check_refused(self, asked: Asked) -> None:
        """Raise what the engine raised then, if it did, of what is not awaited."""
        found = self._recording.find(asked.key(self.name))
        if found is not None:
            codec.raise_refusal(found.value)

    def fact(self, fact: Asked, about: str) -> Any:  # a JSON value
        """What the engine said of it. Raises `NotRecorded`."""
        self.check_open()
        found = self._recording.find(fact.key(self.name))
        if found is None:
            raise missing_fact(self._recording.path, fact, _beginning(about))
        return found.value["fact"]

    def check_open(self) -> None:
        if self._closed:
            raise ModelError(f"engine {self.name!r}, a replay, is closed")

    def adopt(self, change: int) -> None:
        self._branches += change

    def _find(self, asked: Asked, timed: bool) -> Found:
        kinds = [asked, asked.cut] if timed else [asked]
        for kind in kinds:
            first = kind.key(self.name)
            found = self._recording.find(kind.key(self.name, self._served[first]))
            if found is not None:
                self._served[first] += 1
                return found
        served = max(self._served[kind.key(self.name)] for kind in kinds)
        # Where draws are a function of the path, once more gives what the last time gave.
        if served and (self.capabilities.seed or asked.kind != "extend"):
            for kind in kinds:
                last = self._served[kind.key(self.name)] - 1
                found = self._recording.find(kind.key(self.name, last))
                if found is not None:
                    return found
        near = self._recording.near(self.name, asked)
        raise missing(self._recording.path, asked, near, repeats=served)


def _told(prompt: Prompt) -> str:
    if isinstance(prompt, Tokens):
        return str(list(prompt.ids))
    return prompt if isinstance(prompt, str) else " / ".join(m.content for m in prompt)


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:97]}...")
