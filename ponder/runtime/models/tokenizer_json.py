"""Builds a tokeniser from a directory in the Hugging Face layout.

`tokenizer.json` is the tokeniser itself; the chat template and the special tokens' names come from
`tokenizer_config.json` and `chat_template.jinja`; the tokens that end a turn also from
`generation_config.json` and `config.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from tokenizers import Tokenizer

from ponder.runtime.errors import InputError
from ponder.runtime.models.chat import ChatTemplate
from ponder.runtime.models.json_file import read_json
from ponder.runtime.models.tokenizer import LibraryTokenizer, turn_ends

_ROLES: Final = ("bos_token", "eos_token", "unk_token", "pad_token")


def tokenizer_from_directory(path: Path, *, vocabulary: int) -> LibraryTokenizer:
    """The directory's tokeniser; `vocabulary` is the number of tokens the model knows.

    Raises:
        InputError: a file is missing or cannot be read, or a token lies beyond the vocabulary.
    """
    parsing, plain = _load(path), _load(path)
    largest = max(parsing.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= vocabulary:
        raise InputError(
            f"{path}: tokenizer.json has token {largest}, the model only {vocabulary} tokens; "
            "the files are of two different models"
        )
    settings = read_json(path / "tokenizer_config.json", default={})
    names = {role: name for role in _ROLES if (name := _name(settings.get(role))) is not None}
    source = _template(path, settings)
    template = None if source is None else ChatTemplate(source, names=names, where=str(path))
    added = parsing.get_added_tokens_decoder().values()
    ends = turn_ends((t.content for t in added if t.special), template)
    ends |= {names["eos_token"]} if "eos_token" in names else set()
    end_tokens = {token for name in ends if (token := parsing.token_to_id(name)) is not None}
    for file in ("generation_config.json", "config.json"):
        end_tokens |= _tokens(read_json(path / file, default={}), path / file)
    return LibraryTokenizer(
        parsing=parsing,
        plain=plain,
        template=template,
        begin=_begin(parsing, settings, names),
        end_tokens=frozenset(end_tokens),
        where=path,
    )


def _load(path: Path) -> Tokenizer:
    file = path / "tokenizer.json"
    if not file.is_file():
        raise InputError(f"{path} has no tokenizer.json; a model directory needs one")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file} cannot be read as a tokeniser: {error}") from error


def _name(entry: object) -> str | None:
    """A special token is written as its text, or as an object that holds it."""
    if isinstance(entry, Mapping):
        entry = cast(Mapping[str, object], entry).get("content")
    return entry if isinstance(entry, str) else None


def _template(path: Path, settings: Mapping[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read: {error}") from error
    found: object = settings.get("chat_template")
    if isinstance(found, list):  # several templates by name
        named = cast(list[Mapping[str, object]], found)
        found = {t.get("name"): t.get("template") for t in named}.get("default")
    return found if isinstance(found, str) else None


def _tokens(settings: Mapping[str, Any], file: Path) -> set[int]:
    found: object = settings.get("eos_token_id")
    listed = cast(list[object], found) if isinstance(found, list) else [found]
    tokens = {token for token in listed if isinstance(token, int)}
    if found is not None and len(tokens) < len(set(map(repr, listed))):
        raise InputError(f"{file}: eos_token_id is {found!r}; it must be a token id or a list")
    return tokens


def _begin(
    tokenizer: Tokenizer, settings: Mapping[str, Any], names: Mapping[str, str]
) -> int | None:
    """The beginning token, where the tokeniser puts one before raw text."""
    token = tokenizer.token_to_id(names["bos_token"]) if "bos_token" in names else None
    told: object = settings.get("add_bos_token")
    adds = told if isinstance(told, bool) else tokenizer.encode("").ids[:1] == [token]
    return token if adds else None
