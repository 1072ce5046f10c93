"""What branches have in common that are lists of tokens and hold no KV of their own."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime.gate import Gate
from ponder.runtime.standing import Leaving, Origin, Standing


class Listed(Leaving):
    """A branch's tokens, and what is told of them."""

    _gate: Gate
    _origin: Origin
    _tokens: list[int]
    _prompt: int
    """Tokens of the prompt."""
    _own: int
    """Tokens that it was forked with."""

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(self._tokens)

    @property
    def tail(self) -> Sequence[int]:
        return tuple(self._tokens[self._own :])

    def standing(self) -> Standing:
        prompt, said = self._tokens[: self._prompt], self._tokens[self._prompt :]
        return self._origin.standing(tuple(prompt), said, self._own)

    def rewind(self, to: int) -> None:
        self._gate.check_rewind(to, len(self._tokens))
        del self._tokens[to:]
        self._prompt, self._own = min(self._prompt, to), min(self._own, to)
