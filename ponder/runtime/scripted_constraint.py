"""A scripted reply held to a grammar: of what the script says next, what the grammar allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import InputError
from ponder.runtime.grammar import Grammar
from ponder.runtime.script import END, spell


class Constraint:
    """Of one decode."""

    def __init__(self, vocabulary: Vocabulary, grammar: Grammar, tokens: Sequence[int]) -> None:
        """Follow `tokens`; raises `InputError` as `Vocabulary.follow` does."""
        self._follower = vocabulary.follow(grammar, tokens)
        self._said = spell(tokens)

    def restricted(self, model: Mapping[int, float]) -> dict[int, float]:
        """The tokens that may come next, with their probabilities in the script.

        Raises:
            InputError: there are none.
        """
        allowed = {token: p for token, p in model.items() if self._allows(token)}
        if not allowed:
            self._follower.allowed()  # where nothing at all fits, it says so
            raise InputError(
                f"the script goes on after {self._said!r} with {spell(list(model))!r} or its end, "
                f"and the {self._follower.grammar.kind} grammar allows none of it"
            )
        return allowed

    def push(self, token: int) -> None:
        self._said += spell([token])
        self._follower.push(token)

    def _allows(self, token: int) -> bool:
        return self._follower.complete if token == END else self._follower.fits([token])
