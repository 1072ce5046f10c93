"""What a run may spend."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.runtime import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits for one question; None is no limit. Verifiers spend from the same budget."""

    tokens: int | None = None
    """Given, drawn and scored, as `Usage.tokens` counts them: cached or not."""
    seconds: float | None = None
    """On the engine's clock, from the start of the run."""
    calls: int | None = None
    """Decodes and scorings."""

    def __post_init__(self) -> None:
        for name in ("tokens", "seconds", "calls"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(
                    f"budget: {name} is {value!r}; it must be above 0, or left out for no limit"
                )
