"""What decides what a branch says next: its tokens, and what of its history they do not tell.

Tokens alone are not enough: an edit that keeps KV, or a live view, leaves tokens that were computed
under another past. So a branch has a lineage too, a hash that starts from its prompt and takes in
each such edit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from ponder.runtime.chat import Chat, turn
from ponder.runtime.standing import Standing
from ponder.runtime.tokens import moved
from ponder.runtime.values import Prompt, Tokens

_BYTES = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Past:
    """Follows one branch."""

    tokens: list[int]
    prompt: int
    """How many of them are the prompt."""
    own: int = 0
    """How many it was forked with; 0 where it was opened."""
    lineage: bytes

    @classmethod
    def opened(
        cls, prompt: Prompt, adapter: str | None, tokens: Sequence[int], standing: Standing
    ) -> Past:
        lineage, said = digest(prompt_data(prompt), adapter), len(standing.tokens)
        return cls(
            tokens=list(tokens), prompt=len(tokens) - said, own=standing.own, lineage=lineage
        )

    @property
    def digest(self) -> str:
        return blake2b(self.lineage + packed(self.tokens), digest_size=_BYTES).hexdigest()

    @property
    def said(self) -> tuple[int, ...]:
        """All behind the prompt."""
        return tuple(self.tokens[self.prompt :])

    @property
    def tail(self) -> tuple[int, ...]:
        return tuple(self.tokens[self.own :])

    def fork(self) -> Past:
        return replace(self, tokens=list(self.tokens), own=len(self.tokens))

    def rewind(self, to: int) -> None:
        del self.tokens[to:]
        self.prompt, self.own = min(self.prompt, to), min(self.own, to)

    def splice(self, start: int, stop: int, tokens: Sequence[int]) -> None:
        """`tokens` in place of all from `start` on, since `start` to `stop` made way for some."""
        size = len(tokens) - (len(self.tokens) - stop)
        self.tokens[start:] = tokens
        self.prompt = moved(self.prompt, start, stop, size)
        self.own = moved(self.own, start, stop, size)

    def mark(self, *what: object) -> None:
        """Something happened that tokens do not tell."""
        self.lineage = digest(self.digest, *what)


def prompt_data(prompt: Prompt) -> object:
    """JSON values."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Tokens):
        return {"tokens": list(prompt.ids)}
    turns = [turn(message) for message in prompt]
    fields = Chat.of(prompt).fields
    return {"turns": turns, "fields": dict(fields)} if fields else turns


def digest(*values: object) -> bytes:
    """Of JSON values."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=_BYTES).digest()


def packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}q", *tokens)
