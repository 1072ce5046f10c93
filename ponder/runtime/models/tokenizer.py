"""Text to tokens and back on the `tokenizers` library, whatever file the tokeniser came from.

Text from outside never becomes a control token: raw text is read with control tokens switched off,
and in a chat only those that the template itself wrote are control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from tokenizers import Tokenizer

from ponder.runtime.chat import Chat
from ponder.runtime.errors import InputError
from ponder.runtime.models.chat import ChatTemplate, chat_turns
from ponder.runtime.models.spelling import spellings
from ponder.runtime.values import Message, Wording

_TURN_ENDS: Final = ("<|im_end|>", "<|eot_id|>")
Json: TypeAlias = "bool | float | str | Sequence[Json] | Mapping[str, Json] | None"
_KINDS: Final = frozenset({"role", "type"})
_FORM: Final = _KINDS | {
    "arguments",
    "content",
    "description",
    "function",
    "id",
    "name",
    "parameters",
    "properties",
    "required",
    "tool_call_id",
    "tool_calls",
}
"""Keys of OpenAI's form."""
_STAND_INS: Final = range(0x10F000, 0x10FFFE)
"""Private-use code points, of which some are always free."""


class LibraryTokenizer:
    """A `Tokenizer`. See the module."""

    def __init__(
        self,
        *,
        parsing: Tokenizer,
        plain: Tokenizer,
        template: ChatTemplate | None,
        begin: int | None,
        end_tokens: frozenset[int],
        where: Path,
    ) -> None:
        """`parsing` turns the spelling of a control token into that token, `plain` does not."""
        plain.encode_special_tokens = True
        self.end_tokens = end_tokens
        self._parsing = parsing
        self._plain = plain
        self._template = template
        self._begin = begin
        self._where = where
        added = parsing.get_added_tokens_decoder()
        self._controls = {t.content: token for token, t in added.items() if t.special and t.content}
        longest_first = sorted(self._controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        letters = sorted({re.escape(c[0]) for c in self._controls})
        self._begins = re.compile("|".join(letters) or r"(?!)")

    @property
    def tools(self) -> bool:
        return self._template is not None and self._template.tools

    def encode(self, text: str) -> list[int]:
        return _ids(self._plain, text)

    def encode_prompt(self, prompt: Wording) -> list[int]:
        if isinstance(prompt, str):
            begin = [] if self._begin is None else [self._begin]
            return begin + self.encode(prompt)
        return self._encode_chat(prompt)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._parsing.decode(list(tokens), skip_special_tokens=True)

    def spellings(self) -> list[bytes | None]:
        return spellings(self._parsing, self._where)

    def _encode_chat(self, messages: Sequence[Message]) -> list[int]:
        if self._template is None:
            raise InputError(
                f"model {str(self._where)!r} has no chat template; give the prompt as raw text"
            )
        if not messages:
            raise InputError("the chat has no messages; give at least one")
        turns, tools = chat_turns(messages), Chat.of(messages).tools
        outside = "".join(_strings([turns, tools]))
        # Templates put strings side by side in any order, so a letter that could begin a control
        # token is enough.
        if not self._begins.search(outside):
            return _ids(self._parsing, self._template.render(turns, tools))
        swap = self._stand_ins(outside + self._template.source)
        return self._encode_hostile(self._template, swap, _swapped([turns, tools], swap))

    def _encode_hostile(
        self, template: ChatTemplate, swap: dict[int, str], chat: Sequence[Any]
    ) -> list[int]:
        """Something given may spell a control token. The letters such spellings start with are
        swapped for stand-ins while the template renders, so that every control token found
        afterwards is the template's own; the text between them is read as plain text.
        """
        back = {ord(stand_in): letter for letter, stand_in in swap.items()}
        rendered, ids, place = template.render(*chat), list[int](), 0
        for match in self._control.finditer(rendered):
            ids += self.encode(rendered[place : match.start()].translate(back))
            ids.append(self._controls[match.group()])
            place = match.end()
        return ids + self.encode(rendered[place:].translate(back))

    def _stand_ins(self, taken: str) -> dict[int, str]:
        used = set(taken)
        free = (chr(c) for c in _STAND_INS if chr(c) not in used)
        return {
            ord(letter): stand_in
            for letter, stand_in in zip(sorted({c[0] for c in self._controls}), free, strict=False)
        }


def _strings(value: Json) -> Iterator[str]:
    """All text in JSON that a template may write, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner) if key in _FORM else _strings([key, inner])
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _strings(inner)


def _swapped(value: Json, swap: dict[int, str]) -> Any:  # Any: JSON
    """The same JSON with letters swapped in all text but the names that templates look for, and
    roles.
    """
    if isinstance(value, str):
        return value.translate(swap)
    if isinstance(value, Mapping):
        return {
            key if key in _FORM else key.translate(swap): (
                inner if key in _KINDS else _swapped(inner, swap)
            )
            for key, inner in value.items()
        }
    if isinstance(value, Sequence):
        return [_swapped(inner, swap) for inner in value]
    return value


def turn_ends(controls: Iterable[str], template: ChatTemplate | None) -> set[str]:
    """Control tokens that close a turn in the model's own template."""
    source = "" if template is None else template.source
    return {name for name in controls if name in _TURN_ENDS and name in source}


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds {text[error.start]!r} at {error.start}, half of a character that "
            "UTF-8 cannot write; clean the text"
        ) from error
    return tokenizer.encode(text, add_special_tokens=False).ids
