"""The bytes of each token: joined, they are the text."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models

from ponder.runtime import Grammar, InputError, LoadedModel
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.models.spelling import spellings

WHERE = Path("model")
TREE = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 6},
                "size": {"type": "integer", "minimum": 0, "maximum": 999},
                "leaf": {"type": "boolean"},
                "below": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["name", "size", "leaf"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}


def test_of_a_byte_level_vocabulary(smollm2: LoadedModel) -> None:
    tokenizer = smollm2.tokenizer
    spelt = tokenizer.spellings()
    assert len(spelt) == smollm2.config.vocabulary
    assert all(spelt[token] is None for token in tokenizer.end_tokens)

    # Of some bytes, control characters' and those of rarer planes, this vocabulary has no token.
    @given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"])))
    def joined(text: str) -> None:
        tokens = tokenizer.encode(text)
        assert b"".join(spelt[token] or b"?" for token in tokens) == text.encode()

    joined()


def test_any_walk_through_a_whole_vocabulary_ends_in_a_value(smollm2: LoadedModel) -> None:
    tokenizer = smollm2.tokenizer
    vocabulary = Vocabulary(tokenizer.spellings(), tokenizer.end_tokens, smollm2.config.vocabulary)
    chance = random.Random(5)
    for _ in range(20):
        follower = vocabulary.follow(Grammar(kind="json_schema", text=json.dumps(TREE)), [])
        tokens = list[int]()
        while not tokens or tokens[-1] not in tokenizer.end_tokens:
            tokens.append(chance.choice(numpy.flatnonzero(follower.marks()).tolist()))
            follower.push(tokens[-1])
            assert len(tokens) < 3000
        value = json.loads(tokenizer.decode(tokens))
        while value:
            known = TREE["$defs"]["tree"]["properties"].keys()  # type: ignore[index]
            assert {"name", "size", "leaf"} <= value.keys() <= known
            assert (type(value["size"]), type(value["leaf"])) == (int, bool)
            value = (value.get("below") or [None])[0]


def test_of_sentence_piece_with_bytes() -> None:
    vocabulary = {"<unk>": 0, "<0x0A>": 1, "<0xC3>": 2, "\u2581a": 3, "b": 4, "</s>": 5, "<t>": 7}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.add_tokens([AddedToken("<t>", special=False)])
    found = spellings(tokenizer, WHERE)
    assert found == [b"<unk>", b"\n", b"\xc3", b" a", b"b", None, None, b"<t>"]


@pytest.mark.parametrize("decoder", [None, decoders.WordPiece()])
def test_of_what_is_not_known(decoder: decoders.Decoder | None) -> None:
    tokenizer = Tokenizer(models.WordLevel(vocab={"a": 0}, unk_token="a"))
    if decoder is not None:
        tokenizer.decoder = decoder
    kind = "None" if decoder is None else "'WordPiece'"
    with pytest.raises(InputError, match=f"model: with decoder {kind} it is not known which bytes"):
        spellings(tokenizer, WHERE)
