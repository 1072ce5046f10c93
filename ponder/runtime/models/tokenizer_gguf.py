"""Builds a tokeniser from what a GGUF file's metadata says: byte-level BPE with a known splitting.

How text is split before merging is only named in the file, so a name that is not known here is
refused: read with another splitting, the same text gives tokens the model never saw. ("default" is
refused too: files say it when their true splitting was not known to the converter.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ponder.runtime.errors import InputError
from ponder.runtime.models.chat import ChatTemplate
from ponder.runtime.models.gguf_header import Value
from ponder.runtime.models.tokenizer import LibraryTokenizer, turn_ends

LLAMA3_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT: Final = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
"""Each digit stands alone."""
_SPLITS: Final = ("gpt-2", "llama-bpe", "qwen2", "smollm")
_CONTROL: Final = 3
_USER_DEFINED: Final = 4
_NAMES: Final = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
"""A token's role in the file, and in templates."""


def tokenizer_from_gguf(metadata: Mapping[str, Value], path: Path) -> LibraryTokenizer:
    """The tokeniser the file describes.

    Raises:
        InputError: it is of a kind not known here, or its tables do not fit together.
    """
    kind, split = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise InputError(f"{path}: tokeniser {kind!r} is not supported; known: 'gpt2' (byte BPE)")
    if split not in _SPLITS:
        raise InputError(f"{path}: pre-tokeniser {split!r} is not supported; known: {_SPLITS}")
    tokens = _texts(metadata, "tokens", path)
    model = _bpe(tokens, _texts(metadata, "merges", path), path, ignore_merges=split == "llama-bpe")
    added = _added(tokens, metadata.get("tokenizer.ggml.token_type"))
    roles = {role: _token(metadata, role, tokens, path) for role in (*_NAMES, "eot", "eom")}
    names = {
        f"{name}_token": tokens[token]
        for role, name in _NAMES.items()
        if (token := roles[role]) is not None
    }
    source = metadata.get("tokenizer.chat_template")
    template = (
        ChatTemplate(source, names=names, where=str(path)) if isinstance(source, str) else None
    )
    ends = {token for role in ("eos", "eot", "eom") if (token := roles[role]) is not None}
    controls = [t.content for t in added if t.special]
    ends |= {tokens.index(name) for name in turn_ends(controls, template)}
    adds_begin = metadata.get("tokenizer.ggml.add_bos_token", split == "llama-bpe")
    return LibraryTokenizer(
        parsing=_assemble(model, split, added),
        plain=_assemble(model, split, added),
        template=template,
        begin=roles["bos"] if adds_begin else None,
        end_tokens=frozenset(ends),
        where=path,
    )


def _texts(metadata: Mapping[str, Value], key: str, path: Path) -> list[str]:
    found = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        raise InputError(f"{path}: metadata 'tokenizer.ggml.{key}' is not a list of texts")
    return [str(t) for t in found]


def _token(metadata: Mapping[str, Value], role: str, tokens: list[str], path: Path) -> int | None:
    key = f"tokenizer.ggml.{role}_token_id"
    token = metadata.get(key)
    if token is None or (isinstance(token, int) and 0 <= token < len(tokens)):
        return token
    raise InputError(f"{path}: metadata {key!r} is {token!r}; it must be 0 to {len(tokens) - 1}")


def _bpe(tokens: list[str], merges: list[str], path: Path, *, ignore_merges: bool) -> models.BPE:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise InputError(f"{path}: the vocabulary holds a token twice; the file is corrupt")
    pairs: list[tuple[str, str]] = []
    for merge in merges:
        left, gap, right = merge.partition(" ")
        if not gap or not {left, right, left + right} <= vocabulary.keys():
            raise InputError(f"{path}: merge {merge!r} does not fit the vocabulary")
        pairs.append((left, right))
    return models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=ignore_merges)


def _added(tokens: list[str], kinds: Value | None) -> list[AddedToken]:
    """Tokens that are matched whole before anything is split."""
    if not isinstance(kinds, list):
        return []
    return [
        AddedToken(token, normalized=False, special=kind == _CONTROL)
        for token, kind in zip(tokens, kinds, strict=False)
        if token and kind in (_CONTROL, _USER_DEFINED)
    ]


def _assemble(model: models.BPE, split: Value, added: list[AddedToken]) -> Tokenizer:
    """A tokeniser on a model that may be shared."""
    tokenizer = Tokenizer(model)
    if split == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _splitter(split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(added)  # pyright: ignore[reportUnknownMemberType] - a bare list there
    return tokenizer


def _splitter(split: Value) -> pre_tokenizers.PreTokenizer:
    if split == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    pattern = QWEN2_SPLIT if split == "qwen2" else LLAMA3_SPLIT
    words = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([words, letters])
