"""A vocabulary as JSON and back."""

from __future__ import annotations

from base64 import b64decode, b64encode

from ponder.runtime.constraints.characters import Characters
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.replay.codec import Data


def vocabulary_data(vocabulary: Vocabulary) -> Data:
    ends = sorted(vocabulary.ends)
    if isinstance(vocabulary, Characters):
        return {"ends": ends, "size": vocabulary.size}
    spelt = [text and b64encode(text).decode() for text in vocabulary.alphabet]
    return {"ends": ends, "size": vocabulary.size, "spellings": spelt}


def vocabulary_from(data: Data) -> Vocabulary:
    if "spellings" not in data:
        (end,) = data["ends"]
        return Characters(end)
    spelt = [None if text is None else b64decode(text) for text in data["spellings"]]
    return Vocabulary(spelt, frozenset(data["ends"]), data["size"])
