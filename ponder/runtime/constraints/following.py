"""A text on its way through a grammar: what has been said, and which tokens may come next.

Where a text stands is a function of its tokens alone; a follower is a cache of that, which can be
copied, taken back and brought up to any other text. End tokens may come exactly where the text is
complete; a token that spells nothing is no part of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from ponder.runtime.constraints.compiling import check_installed, compiled
from ponder.runtime.errors import InputError
from ponder.runtime.grammar import Grammar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from llguidance import LLMatcher, LLTokenizer

MOST_COMPILED = 64
"""Grammars that are kept compiled."""
SHOWN = 80
"""Bytes of a text's end that an error shows."""


class Vocabulary:
    """A model's tokens, and the grammars that were matched against them."""

    def __init__(self, spellings: Sequence[bytes | None], ends: frozenset[int], size: int) -> None:
        """What each token spells.

        Args:
            spellings: by token id; None, or past the end: the token is no text.
            ends: tokens that end a turn.
            size: tokens that the model draws from.
        """
        self.size = size
        self.ends = ends
        self._spellings = spellings
        self._compiled: dict[Grammar, LLMatcher] = {}

    @property
    def masks(self) -> bool:
        """Whether `Follower.allowed` marks this vocabulary's own tokens."""
        return True

    def spelling(self, token: int) -> bytes | None:
        """None: it is no text, or ends a turn."""
        if token in self.ends or token >= len(self._spellings):
            return None
        return self._spellings[token] or None

    def pieces(self, token: int) -> Sequence[int]:
        """What matchers are told of a token: itself, or nothing where it spells nothing."""
        return () if self.spelling(token) is None else (token,)

    @cached_property
    def alphabet(self) -> Sequence[bytes | None]:
        """What the pieces spell."""
        return [self.spelling(token) for token in range(self.size)]

    def follow(
        self, grammar: Grammar, tokens: Sequence[int], kept: Follower | None = None
    ) -> Follower:
        """What has followed `tokens`; `kept`, which followed something alike, makes it quicker.

        Raises:
            InputError: the grammar cannot be compiled, or the tokens do not fit it.
        """
        text = [token for token in tokens if self.pieces(token)]
        if kept is not None and kept.grammar == grammar:
            copy = kept.copy()
            if copy.back_to(text):
                copy.on_to(text)
                return copy
        fresh = Follower(self, grammar, self._matcher(grammar))
        fresh.on_to(text)
        return fresh

    def _matcher(self, grammar: Grammar) -> LLMatcher:
        if grammar not in self._compiled:
            if len(self._compiled) >= MOST_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[grammar] = compiled(grammar, self._tokenizer)
        return self._compiled[grammar].deep_copy()

    @cached_property
    def spelt(self) -> npt.NDArray[np.uint8]:
        """Bits of the pieces that spell something."""
        return packed(text is not None for text in self.alphabet)

    @cached_property
    def ending(self) -> npt.NDArray[np.uint8]:
        """Bits of the end tokens, where pieces are tokens."""
        return packed(piece in self.ends for piece in range(len(self.alphabet)))

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        """Takes half a second for 49,152 tokens."""
        check_installed()
        return _tokenizer(self.alphabet)


class Follower:
    """Any thread may call it; a matcher can be asked by one at a time only."""

    def __init__(
        self, vocabulary: Vocabulary, grammar: Grammar, matcher: LLMatcher, seen: Sequence[int] = ()
    ) -> None:
        self.grammar = grammar
        self._vocabulary = vocabulary
        self._matcher = matcher
        self._seen = list(seen)
        self._lock = Lock()

    def copy(self) -> Follower:
        with self._lock:
            return Follower(self._vocabulary, self.grammar, self._matcher.deep_copy(), self._seen)

    def push(self, token: int) -> None:
        """Go on by one token that was allowed."""
        pieces = self._vocabulary.pieces(token)
        if not pieces:
            return
        with self._lock:
            self._matcher.consume_tokens(list(pieces))
            self._seen.append(token)

    def fits(self, tokens: Sequence[int]) -> bool:
        """Whether these may come next, one after the other."""
        with self._lock:
            pieces = self._pieces(tokens)
            return self._matcher.validate_tokens(pieces) == len(pieces)

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        with self._lock:
            return self._matcher.is_accepting()

    def allowed(self) -> npt.NDArray[np.uint8]:
        """Bits of the pieces that may come next, and of end tokens among them, as `packed` has
        them; none where the text is complete, can only end, and the model has no end tokens.

        Raises:
            InputError: nothing may come, and the text is not complete; or the grammar is too
                intricate to be followed.
        """
        bits = self._bits()
        if not bits.any() and not self.complete:
            raise InputError(self._stuck(""))
        return bits

    def marks(self) -> npt.NDArray[np.bool_]:
        """The same as marks, [pieces], and no marks where nothing may come."""
        return unpacked(self._bits(), len(self._vocabulary.alphabet))

    def _bits(self) -> npt.NDArray[np.uint8]:
        import numpy as np

        spelt, ending = self._vocabulary.spelt, self._vocabulary.ending
        with self._lock:
            found = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
            complete = self._matcher.is_accepting()
            stuck = self._matcher.get_error() if self._matcher.is_error() else ""
            over = self._matcher.is_stopped()
        if complete:
            return (found[: len(spelt)] & spelt) | ending
        if not (stuck or over):
            return found[: len(spelt)] & spelt
        if stuck and "NoExtension" not in stuck:
            raise InputError(self._stuck(stuck))
        return np.zeros_like(spelt)

    def back_to(self, text: Sequence[int]) -> bool:
        """Take back what `text` does not begin with; False where that cannot be done."""
        pairs = zip(self._seen, text, strict=False)
        common = next(
            (i for i, (a, b) in enumerate(pairs) if a != b), min(len(self._seen), len(text))
        )
        surplus = len(self._pieces(self._seen[common:]))
        del self._seen[common:]
        return surplus == 0 or self._matcher.rollback(surplus)

    def _pieces(self, tokens: Sequence[int]) -> list[int]:
        return [piece for token in tokens for piece in self._vocabulary.pieces(token)]

    def on_to(self, text: Sequence[int]) -> None:
        """Follow the rest of `text`, of which the beginning has been followed."""
        rest = list(text[len(self._seen) :])
        taken = 0
        for token in rest:
            pieces = self._pieces([token])
            if self._matcher.try_consume_tokens(pieces) < len(pieces):
                break
            taken += 1
        self._seen += rest[:taken]
        if taken < len(rest):
            wrong = self._spell(rest[taken : taken + 1])
            raise InputError(
                f"the text so far does not fit the {self.grammar.kind} grammar: after "
                f"{self._spell(self._seen)!r} it does not allow {wrong!r}; rewind, or say where "
                "the constrained text begins (grammar_start)"
            )

    def _stuck(self, reason: str) -> str:
        said = self._spell(self._seen)
        begins = f"go on after {said!r}" if said else "begin a text"
        reason = reason.removesuffix("<non-verbose/>").strip()
        why = "" if not reason or reason.startswith("NoExtension") else f" ({reason})"
        return (
            f"no token of this model's can {begins} that fits the {self.grammar.kind} grammar"
            f"{why}; nothing satisfies it, or the vocabulary cannot spell what does"
        )

    def _spell(self, tokens: Sequence[int]) -> str:
        text = b"".join(self._vocabulary.spelling(token) or b"" for token in tokens)
        return text[-SHOWN:].decode(errors="replace")


def packed(marks: Iterable[bool]) -> npt.NDArray[np.uint8]:
    """Bits, eight a byte, the first the lowest, [marks / 8, rounded up]."""
    import numpy as np

    return np.packbits(np.fromiter(marks, np.bool_), bitorder="little")


def unpacked(bits: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.bool_]:
    import numpy as np

    return np.unpackbits(bits, count=count, bitorder="little").view(np.bool_)


class _Spelt:
    """What llguidance asks of a tokenizer. Its end is a token of its own, behind the model's."""

    def __init__(self, spellings: Sequence[bytes | None]) -> None:
        self.eos_token_id = len(spellings)
        self.bos_token_id = None
        self.tokens = [*(text or b"" for text in spellings), b"<end>"]
        self.special_token_ids = [self.eos_token_id]

    def __call__(self, text: str | bytes) -> list[int]:
        """Only asked for the tokens of text that a grammar forces, which masks do without."""
        return []


def _tokenizer(spellings: Sequence[bytes | None]) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Spelt(spellings)))
