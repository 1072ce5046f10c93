"""What an engine behind an endpoint counts of itself: it computes nothing, so its numbers are those
that it was told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ponder.runtime.errors import ModelError
from ponder.runtime.stats import EngineStats, idle
from ponder.runtime.values import Usage


@dataclass(slots=True, kw_only=True, eq=False)
class Counts:
    """Of one engine."""

    name: str
    """The engine's."""
    usage: Usage = Usage()
    branches: int = 0
    closed: bool = False

    def check_open(self) -> None:
        """Raises `ModelError` where the engine is closed."""
        if self.closed:
            raise ModelError(f"engine {self.name!r} is closed")

    def charge(self, usage: Usage) -> None:
        self.usage += usage

    def adopt(self, change: int) -> None:
        self.branches += change

    def stats(self) -> EngineStats:
        used = self.usage
        return replace(
            idle(self.branches),
            prefilled=used.prompt - used.cached,
            cached=used.cached,
            decoded=used.decoded,
            scored=used.scored,
            computed=used.tokens - used.cached,
        )
