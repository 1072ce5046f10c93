"""From a prompt to tokens that fit a context."""

from __future__ import annotations

from ponder.runtime.errors import ContextOverflow, InputError
from ponder.runtime.models.config import Tokenizer
from ponder.runtime.tokens import check_ids
from ponder.runtime.values import Prompt, Tokens

LONG = 16
"""Characters a token: a prompt with more of them than the context allows is measured by its
beginning first, so that a huge one is refused at once.
"""


def encode(
    tokenizer: Tokenizer, prompt: Prompt, vocabulary: int, *, bare: bool = False
) -> list[int]:
    """As `Engine.encode`.

    Raises:
        InputError: a token id is none of the `vocabulary` that the model knows.
    """
    if isinstance(prompt, Tokens):
        check_ids(prompt.ids, vocabulary)
        return list(prompt.ids)
    if bare and isinstance(prompt, str):
        return tokenizer.encode(prompt)
    return tokenizer.encode_prompt(prompt)


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt, context: int, vocabulary: int) -> list[int]:
    """At least one token, and at least one fewer than the context holds.

    Raises:
        ContextOverflow: there are more.
        InputError: there are none; or as `encode`.
    """
    for text in _texts(prompt):
        if len(text) > LONG * context:
            start = len(tokenizer.encode(text[: LONG * context]))
            if start > 2 * context:
                raise _overflow(f"more than {start}", context)
    tokens = encode(tokenizer, prompt, vocabulary)
    if not tokens:
        raise InputError("the prompt is empty; give at least one token")
    if len(tokens) >= context:
        raise _overflow(str(len(tokens)), context)
    return tokens


def _overflow(tokens: str, context: int) -> ContextOverflow:
    return ContextOverflow(
        f"the prompt has {tokens} tokens; the model holds {context}, one of them for the reply: "
        "shorten it"
    )


def _texts(prompt: Prompt) -> list[str]:
    if isinstance(prompt, Tokens):
        return []
    return [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
