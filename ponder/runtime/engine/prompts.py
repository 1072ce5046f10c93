"""From a prompt to tokens that fit a context."""

from __future__ import annotations

from ponder.runtime.errors import ContextOverflow, InputError
from ponder.runtime.models.config import Tokenizer
from ponder.runtime.values import Prompt

LONG = 16
"""Characters a token: a prompt with more of them than the context allows is measured by its
beginning first, so that a huge one is refused at once.
"""


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt, context: int) -> list[int]:
    """At least one token, and at least one fewer than the context holds.

    Raises:
        ContextOverflow: there are more.
        InputError: there are none.
    """
    for text in [prompt] if isinstance(prompt, str) else [m.content for m in prompt]:
        if len(text) > LONG * context:
            start = len(tokenizer.encode(text[: LONG * context]))
            if start > 2 * context:
                raise _overflow(f"more than {start}", context)
    tokens = tokenizer.encode_prompt(prompt)
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
