"""How attempts are drawn: the settings that methods which decode attempts themselves share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import Sampling
from ponder.strategies.api import Port


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """As in `Sample`."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.CANDIDATES

    temperature: float = 0.8
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    max_tokens: int = 512
    """Of one attempt."""
    stop: tuple[str, ...] = ()
    engine: str = "policy"
    """Role of the engine that decodes, and that is asked about its attempts."""

    def sampling(self, temperature: float) -> Sampling:
        """Raises `InputError` for settings out of range."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            stop=self.stop,
        )

    def drawing_needs(self) -> frozenset[str]:
        """Capabilities that these settings ask for."""
        asked = {"top_k": self.top_k is not None, "min_p": self.min_p > 0}
        return frozenset(name for name, used in asked.items() if used)
