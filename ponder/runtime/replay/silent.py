"""An engine that has a name and capabilities, so that strategies can be checked against it, and
refuses every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from ponder.runtime.api import Branch
from ponder.runtime.capabilities import Capabilities
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import NotRecorded
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Standing
from ponder.runtime.stats import EngineStats, idle
from ponder.runtime.values import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentEngine:
    """An `Engine` in name only; its clock stands still."""

    name: str
    capabilities: Capabilities

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> Branch:
        self._refuse(f"open branch {path}")

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> Branch:
        self._refuse(f"open branch {standing.path}")

    def count(self, prompt: Prompt) -> int:
        self._refuse("count a prompt's tokens")

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        self._refuse("encode a prompt")

    def vocabulary(self) -> Vocabulary:
        self._refuse("tell its vocabulary")

    def spell(self, tokens: Sequence[int]) -> str:
        self._refuse("spell tokens")

    def clock(self) -> float:
        return 0.0

    def stats(self) -> EngineStats:
        return idle()

    async def close(self) -> None:
        """There is nothing to close."""

    def _refuse(self, action: str) -> NoReturn:
        raise NotRecorded(f"{self.name} cannot {action}: there is no model; give --replay FILE")
