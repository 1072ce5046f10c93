"""The bytes that each token of a `tokenizers` vocabulary spells.

Two kinds of vocabularies are known: byte-level ones (GPT-2's letters for bytes), and those of
SentencePiece with a token for each byte (`<0x0A>`) and a mark for a space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from ponder.runtime.errors import InputError

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE: Final = "\u2581"


def spellings(tokenizer: Tokenizer, where: Path) -> list[bytes | None]:
    """By token id; None for control tokens, and for ids that no token has.

    Raises:
        InputError: the vocabulary is of neither kind.
    """
    spelt = _reading(tokenizer, where)
    added = tokenizer.get_added_tokens_decoder()
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    found: list[bytes | None] = [None] * (max(tokens.values(), default=-1) + 1)
    for name, token in tokens.items():
        if token not in added:
            found[token] = spelt(name)
        elif not added[token].special:
            found[token] = name.encode()
    return found


def _reading(tokenizer: Tokenizer, where: Path) -> Callable[[str], bytes | None]:
    decoder: Any = tokenizer.decoder  # Any: the library types no state
    state = "" if decoder is None else decoder.__getstate__().decode()
    if '"ByteLevel"' in state:
        letters = _letters()
        return lambda name: _byte_level(name, letters)
    if '"ByteFallback"' in state:
        return _sentence_piece
    kind = json.loads(state).get("type") if state else None
    raise InputError(
        f"{where}: with decoder {kind!r} it is not known which bytes a token spells, so nothing "
        "can be constrained to a grammar; take a model with a byte-level tokenizer"
    )


def _letters() -> Mapping[str, int]:
    """GPT-2's letter of each byte: its own where it can be seen, else the next free one from U+0100
    on.
    """
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {chr(b): b for b in seen} | {chr(256 + i): b for i, b in enumerate(unseen)}


def _byte_level(name: str, letters: Mapping[str, int]) -> bytes | None:
    return bytes(letters[c] for c in name) if all(c in letters for c in name) else None


def _sentence_piece(name: str) -> bytes:
    byte = _BYTE.fullmatch(name)
    return bytes([int(byte[1], 16)]) if byte else name.replace(_SPACE, " ").encode()
