"""A lane as its user's side holds it: commands are posted, jobs are waited for, one call at a time.

A handle that is dropped without `close` lets go of its pages when it is collected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol
from weakref import finalize

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.constraints.following import Follower, Vocabulary
from ponder.runtime.engine import refusals
from ponder.runtime.engine.core import Core
from ponder.runtime.engine.jobs import Command, Decode, Job
from ponder.runtime.engine.loop import EngineThread
from ponder.runtime.errors import BranchClosed, InputError
from ponder.runtime.models.config import ModelConfig, Tokenizer
from ponder.runtime.models.heads import Head
from ponder.runtime.seeds import BranchPath
from ponder.runtime.tokens import constrained_from
from ponder.runtime.tool_calls import with_calls
from ponder.runtime.values import Prompt, Sampling, Segment, SpliceMode


class Host(Protocol):
    """What a branch needs of its engine."""

    @property
    def name(self) -> str: ...

    @property
    def core(self) -> Core: ...

    @property
    def thread(self) -> EngineThread: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def encode(self, prompt: Prompt, *, bare: bool = False) -> list[int]: ...

    def vocabulary(self) -> Vocabulary: ...

    @property
    def heads(self) -> Mapping[str, Head]: ...

    def head(self, name: str) -> Head:
        """Raises `CapabilityError` where there is none by that name."""
        ...

    def adopt(self) -> tuple[int, Callable[[], None]]:
        """A new lane's number, and what lets go of it."""
        ...


class Handle:
    """Of a lane that exists, or that an `open` under way makes."""

    def __init__(
        self, host: Host, path: BranchPath, parent: Handle | None = None, *, tools: bool = False
    ) -> None:
        """With `tools` on offer, here or in the parent, calls are read out of replies."""
        self.host = host
        self.path = path
        self.ident, release = host.adopt()
        self.parent = parent.ident if parent else None
        self.live: bool = parent.live if parent else False
        """Whether its KV may have come from a live view."""
        self._tools: bool = parent._tools if parent else tools
        self._followed: Follower | None = parent._followed if parent else None
        self._release = finalize(self, release)
        self._jobs: Sequence[Job] = ()
        self._pins = 0

    def check(self, action: str) -> None:
        """Raises unless the lane is there and no call runs on it."""
        self.check_open()
        if self._jobs:
            raise InputError(
                f"cannot {action} branch {self.path} while another call runs on it; wait for that "
                "call, or fork first"
            )

    def check_open(self) -> None:
        if not self._release.alive:
            raise self._closed()
        self.host.thread.check()

    def check_kin(
        self, action: str, others: Sequence[Handle], parent: int | None, who: str
    ) -> None:
        """Raises unless all others are forks of `parent`, none is this one, and none is twice."""
        kin = all(other.parent == parent and other.host is self.host for other in others)
        alone = self not in others and len(set(others)) == len(others)
        if others and not (parent is not None and kin and alone):
            raise InputError(
                f"cannot {action} {[other.path for other in others]!r} with {self.path}: it takes "
                f"{who}, each once"
            )

    def check_mode(self, mode: SpliceMode) -> None:
        refusals.check_mode(self.host.name, mode, self.host.capabilities.splice)

    def follow(self, params: Sampling, tokens: Sequence[int]) -> Follower | None:
        """What says which tokens may be drawn after these; None where all may.

        Raises:
            InputError: the grammar cannot be used, or the tokens do not fit it.
        """
        if params.grammar is None:
            return None
        start, vocabulary = constrained_from(params, len(tokens)), self.host.vocabulary()
        self._followed = vocabulary.follow(params.grammar, tokens[start:], self._followed)
        return self._followed

    def with_calls(self, segment: Segment, start: int) -> Segment:
        """A reply from token `start` on, with the calls in it."""
        return with_calls(segment, self.path, start) if self._tools else segment

    def check_dead(self, action: str, instead: str) -> None:
        """Raises where KV depends on who was how far: it could not be computed again."""
        if self.live:
            raise InputError(f"cannot {action} branch {self.path}, which shares others; {instead}")

    def pin(self, change: int) -> None:
        self.check_open()
        if self._pins + change < 0:
            raise InputError(f"branch {self.path} is not pinned; unpin once for each pin")
        self._pins += change
        self.post(self.host.core.pin, change)

    async def call(self, command: Command, *jobs: Job) -> None:
        """Post a command and wait for the jobs it serves."""
        self.begin(command, *jobs)
        try:
            for job in jobs:
                await job.finished()
        finally:
            for job in jobs:
                job.end()
            self.ended()

    def begin(self, command: Command, *jobs: Job) -> None:
        """Post a command; `ended` must follow."""
        self.host.thread.begin(command, *jobs)
        self._jobs = jobs

    def ended(self) -> None:
        self._jobs = ()

    def post(self, command: Callable[..., None], *arguments: object) -> None:
        """`command` of the lane, for nobody to wait for; dropped where the lane is gone."""
        if self._release.alive:
            self.host.thread.post(partial(command, self.ident, *arguments))

    def close(self) -> None:
        """A decode under way is cancelled; any other call raises `BranchClosed`."""
        for job in self._jobs:
            job.end(None if isinstance(job, Decode) else self._closed())
        self._release()

    def _closed(self) -> BranchClosed:
        return BranchClosed(f"branch {self.path} is closed")
