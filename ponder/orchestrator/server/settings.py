"""What whoever runs a server decides."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.runtime import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Limits of one server."""

    keys: tuple[str, ...] = ()
    """Any of them opens the door, as `Authorization: Bearer KEY`; none leaves it open."""
    most_requests: int = 64
    """Answered at once; one more is told to come back (429)."""
    most_bytes: int = 4_000_000
    """Of a request's body."""
    most_choices: int = 128
    """`n` of a request."""
    most_tokens: int = 1_000_000
    """Budget of tokens for one choice where a request gives none, and the most it may give."""
    grace: float = 30.0
    """Seconds that requests under way are given when the server is told to stop (`--drain`)."""

    def __post_init__(self) -> None:
        for name in ("most_requests", "most_bytes", "most_choices", "most_tokens"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} is {value!r}; it must be at least 1")
        if not self.grace >= 0:
            raise InputError(f"grace is {self.grace!r} seconds; it must be 0 or above")
        if not all(key.strip() for key in self.keys):
            raise InputError("an API key is empty; give at least one character, or no key at all")
