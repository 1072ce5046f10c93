"""The seam between Ponder and whatever runs a model: an engine opens branches (`branching.py`).

Nothing here knows of questions, answers, strategies or budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ponder.runtime.branching import Branch as Branch
from ponder.runtime.capabilities import Capabilities
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Standing
from ponder.runtime.stats import EngineStats
from ponder.runtime.values import (
    Prompt,
)


class Engine(Protocol):
    """Runs one model for many branches at once."""

    @property
    def name(self) -> str:
        """Names the model and what runs it, for records."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> Branch:
        """A branch that starts with `prompt`.

        Raises:
            ContextOverflow: the prompt leaves no room for one token.
            CapabilityError: `adapter` is given and this engine has none by that name; or the prompt
                is token ids and this engine has none.
            InputError: a token id is none of the model's.
        """
        ...

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> Branch:
        """A branch that stands where another one stood, and goes on as that one would have; it is
        nobody's fork. All its tokens are charged as prompt.

        Raises:
            ContextOverflow: there are more tokens than the context holds.
            CapabilityError: as `open` does.
            InputError: the tokens are not this model's.
        """
        ...

    def count(self, prompt: Prompt) -> int:
        """Tokens of this prompt, which `open` charges at most. An estimate where the engine has no
        token ids.
        """
        ...

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        """The tokens that a branch opened with `prompt` starts with.

        Args:
            prompt: of any kind.
            bare: raw text as `append` reads it, without what the model wants before a text.

        Raises:
            CapabilityError: this engine has no token ids.
        """
        ...

    def vocabulary(self) -> Vocabulary:
        """What each token spells, and which end a turn; made when it is first asked for.

        Raises:
            CapabilityError: this engine has no token ids, or cannot tell.
        """
        ...

    def spell(self, tokens: Sequence[int]) -> str:
        """The text of tokens; what is no whole character shows as U+FFFD."""
        ...

    def clock(self) -> float:
        """Seconds on the engine's clock: a wall clock that only goes forward; for a scripted
        engine, one that stands still.
        """
        ...

    def stats(self) -> EngineStats: ...

    async def close(self) -> None:
        """Stop the engine; calls under way get a `ModelError`."""
        ...
