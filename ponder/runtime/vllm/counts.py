"""What each token that vLLM computed was for, as `EngineStats` says.

vLLM tells how much of a prompt it found, and what it drew; the rest follows. It does not tell what
it computes again after a preemption of its own, nor what it drew for a request that was just
stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.runtime.values import Usage


@dataclass(slots=True, kw_only=True)
class Counts:
    prefilled: int = 0
    cached: int = 0
    opened: int = 0
    decoded: int = 0
    scored: int = 0
    recomputed: int = 0
    dropped: int = 0
    computed: int = 0

    def gave(self, total: int, start: int, found: int, *, opened: bool) -> Usage:
        """A request computed `total` tokens but for `found`; those from `start` on are new."""
        cached = max(0, found - start)
        fresh = total - start - cached
        self.prefilled += fresh
        self.cached += cached
        self.opened += opened
        self.computed += total - found
        # An opened prompt's last token is computed, and again for what is drawn after it.
        self.recomputed += total - found - fresh + opened
        return Usage(prompt=total - start, cached=cached)

    def began(self, total: int, found: int) -> None:
        """A decode computed what vLLM had not kept of the past, all but the last token."""
        self.computed += total - 1 - found
        self.recomputed += total - 1 - found

    def drew(self) -> None:
        self.decoded += 1
        self.computed += 1

    def drew_in_vain(self) -> None:
        """A token that came after the end."""
        self.dropped += 1
        self.computed += 1

    def showed(self, total: int, found: int) -> None:
        """A decode of one token, which is dropped unless somebody picks."""
        self.began(total, found)
        self.drew_in_vain()

    def picked(self, token: int | None) -> None:
        """Of what was shown."""
        self.dropped -= 1
        self.decoded += token is not None
        self.scored += token is None

    def read(self, total: int, found: int, taken: int) -> None:
        """A request computed `total` tokens but for `found`, to read something at `taken`."""
        self.computed += total - found
        self.scored += taken
        self.recomputed += total - found - taken
