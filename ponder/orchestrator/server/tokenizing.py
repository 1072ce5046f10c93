"""What tokens a model reads of a text or a chat, in the form of vLLM's server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ponder.orchestrator.server.refusals import invalid
from ponder.orchestrator.server.requests import Checked, read
from ponder.orchestrator.server.scoring import spellings
from ponder.orchestrator.server.turns import Conversation
from ponder.runtime import Engine

JSON = dict[str, Any]  # Any: JSON


class TokenizeText(Checked):
    model: str
    prompt: str
    add_special_tokens: bool = True
    """False: as text in the middle of another."""
    return_token_strs: bool = False


class TokenizeChat(Conversation, Checked):
    model: str
    add_special_tokens: bool = False
    return_token_strs: bool = False

    def check(self) -> None:
        self.check_conversation()
        if self.add_special_tokens:
            raise invalid(
                "add_special_tokens is True; a chat has those that its template writes, and no "
                "others: leave it out",
                field="add_special_tokens",
                code="unsupported",
            )


Tokenizing = TokenizeText | TokenizeChat


def read_tokenizing(raw: bytes) -> Tokenizing:
    """A chat where there are messages; raises as `read` does."""
    try:
        body: object = json.loads(raw)
    except ValueError:
        body = None  # `read` says what is wrong
    chat = isinstance(body, dict) and "messages" in body
    return read(TokenizeChat, raw) if chat else read(TokenizeText, raw)


async def tokenized(asked: Tokenizing, engine: Engine) -> JSON:
    """Raises `Refusal` for an engine whose tokens are not known."""
    if not engine.capabilities.token_ids:
        raise invalid(
            f"model {asked.model!r} is behind an endpoint, and its tokens are not known here; ask "
            "that endpoint",
            field="model",
            code="unsupported",
        )
    # Long texts take a while, and others wait.
    tokens = await asyncio.to_thread(_tokens, asked, engine)
    return {
        "count": len(tokens),
        "max_model_len": engine.capabilities.context_length,
        "tokens": tokens,
        "token_strs": spellings(engine, tokens) if asked.return_token_strs else None,
    }


def _tokens(asked: Tokenizing, engine: Engine) -> list[int]:
    if isinstance(asked, TokenizeText):
        return list(engine.encode(asked.prompt, bare=not asked.add_special_tokens))
    return [
        *engine.encode(asked.chat(engine, asked.model, asked.offered)),
        *engine.encode(asked.begun, bare=True),
    ]
