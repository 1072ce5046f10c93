"""Text of a decode under way: what is certain of it so far, and whether a stop string is in it.

A token may end in the middle of a UTF-8 character; its text is held back until the rest comes.
Decoding looks at a short window of tokens, so a long decode stays linear.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime.models.config import Tokenizer

REPLACEMENT = "\ufffd"


class TextTail:
    """Fed token by token."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.certain = ""
        """Text that no later token can change."""
        self._tokenizer = tokenizer
        self._stop = stop
        self._overlap = max((len(s) for s in stop), default=1) - 1
        self._tokens: list[int] = []
        self._window = 0
        self._read = 0
        self._held = ""

    @property
    def whole(self) -> str:
        """All text, an incomplete character as U+FFFD."""
        return self.certain + self._held

    def push(self, token: int) -> bool:
        """Take a token in; true if a stop string is complete now."""
        self._tokens.append(token)
        # Some tokenizers treat the first token of a text specially, so the window starts earlier.
        before = self._tokenizer.decode(self._tokens[self._window : self._read])
        after = self._tokenizer.decode(self._tokens[self._window :])
        searched = max(0, len(self.certain) - self._overlap)
        self._held = after[len(before) :]
        if self._held and not self._held.endswith(REPLACEMENT):
            self.certain, self._held = self.certain + self._held, ""
            self._window, self._read = self._read, len(self._tokens)
        text = self.certain[searched:] + self._held.removesuffix(REPLACEMENT)
        return any(stop in text for stop in self._stop)
