"""The splitting that GGUF files call `qwen2`, against the tokeniser of transformers."""

import json
import random
from typing import Any

import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ponder.runtime import Message
from ponder.runtime.models import Tokenizer as OurTokenizer
from ponder.runtime.models import load_model

PARTS = [
    *("the", " of", "Ponder", " ponder", "naïve", " Ünïcödé", "中文", "한국어", "ไทย", "العربية"),
    *("    ", "  ", "\t", "\n", "\n\n", "\r\n", " \n", "\u00a0", "\u2028"),
    *("1", "12", "345", " 6", "3.14", "1,000", "½", "٣"),
    *("'s", "'LL", "'Ve", "n't", "—", "...", "!?", "_", " {", "();\n", "\\frac{1}{2}", "$x^2$"),
    *("🙂", "👩‍👩‍👧", "e\u0301", "\u1100\u1161", "\x00", "<|im_start", "im_end|>", "<think>"),
]


def texts(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices(PARTS, k=chance.randrange(1, 30))) for _ in range(count)]


@pytest.fixture(scope="module")
def trained() -> tuple[list[str], list[str]]:
    """Vocabulary and merges of a BPE that was trained on unsplit text: its merges reach over every
    border a splitting draws, so that no border can be misplaced unseen.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer  # its constructor is untyped
    bpe.train_from_iterator(
        texts(0, 300),
        trainer(
            vocab_size=1500,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    vocabulary: dict[str, int] = bpe.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    return tokens, merges


@pytest.fixture(scope="module")
def ours(
    trained: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> OurTokenizer:
    tokens, merges = trained
    random_weights = tiny_models.tensors()
    head = random_weights["token_embd.weight"]
    weights = random_weights | {"token_embd.weight": head[:1].repeat(len(tokens), axis=0)}
    file = tiny_models.write(
        tmp_path_factory.mktemp("qwen2") / "m.gguf",
        weights=weights,
        settings={
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(tokens) - 3),
            "tokenizer.ggml.merges": merges,
            "tokenizer.ggml.bos_token_id": 0,
        },
        without=["tokenizer.ggml.add_bos_token"],
    )
    return load_model(str(file)).tokenizer


@pytest.fixture(scope="module")
def theirs(trained: tuple[list[str], list[str]]) -> Any:
    from transformers import Qwen2Tokenizer

    tokens, merges = trained
    tokenizer: Any = Qwen2Tokenizer  # its constructor is untyped
    return tokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in merges],
        chat_template=tiny_models.TEMPLATE,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )


def test_tokens_equal_transformers(ours: OurTokenizer, theirs: Any) -> None:
    pieces = 0
    for text in texts(1, 500):
        found = ours.encode(text)
        assert found == theirs.encode(text, add_special_tokens=False), text
        assert ours.encode_prompt(text) == found, "no beginning token"
        pieces += len(text) - len(found)
    assert pieces > 5000, "the merges are used"


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_equals_transformers(ours: OurTokenizer, theirs: Any, text: str) -> None:
    found = ours.encode(text)
    assert found == theirs.encode(text, add_special_tokens=False)
    assert ours.decode(found) == theirs.backend_tokenizer.normalizer.normalize_str(text)


def test_chats_equal_transformers(ours: OurTokenizer, theirs: Any) -> None:
    for text in texts(2, 50):
        turns = [{"role": "user", "content": text}]
        want = theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert ours.encode_prompt([Message(role="user", content=text)]) == want
    assert ours.end_tokens == {2}
