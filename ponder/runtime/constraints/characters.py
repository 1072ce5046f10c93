"""A vocabulary of Unicode characters, whose matchers are told bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ponder.runtime.constraints.following import Vocabulary


class Characters(Vocabulary):
    """Tokens are code points; one behind them all ends a turn."""

    def __init__(self, end: int) -> None:
        super().__init__((), frozenset({end}), end + 1)

    @property
    def masks(self) -> bool:
        return False

    def spelling(self, token: int) -> bytes | None:
        """Half a character, which UTF-8 has no bytes for, is bytes that no grammar allows."""
        return None if token in self.ends else chr(token).encode(errors="surrogatepass")

    def pieces(self, token: int) -> Sequence[int]:
        return self.spelling(token) or ()

    @cached_property
    def alphabet(self) -> Sequence[bytes | None]:
        return [bytes([byte]) for byte in range(256)]
