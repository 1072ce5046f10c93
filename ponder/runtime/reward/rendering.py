"""Chat turns as the one text that a model reads, told by its endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from pydantic import BaseModel

from ponder.runtime.remote.body import Body
from ponder.runtime.remote.calls import send
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.scoring import tokenised
from ponder.runtime.remote.wire import read


class Rendering(Enum):
    """Who tells it."""

    TEMPLATE = "apply-template"
    """llama.cpp's own server tells the text."""
    TOKENS = "tokenize"
    """vLLM tells the tokens of chat turns, and the text of tokens."""


class Rendered(BaseModel):
    prompt: str


async def render(
    endpoint: Endpoint, rendering: Rendering, model: str, turns: Sequence[Body]
) -> str:
    """Opened for the model's reply."""
    body: Body = {"model": model, "messages": list(turns)}
    if rendering is Rendering.TOKENS:
        tokens = await tokenised(endpoint, model, {**body, "add_generation_prompt": True})
        body = {"model": model, "tokens": tokens}
    address = "apply-template" if rendering is Rendering.TEMPLATE else "detokenize"
    return read(Rendered, await send(endpoint, f"{endpoint.root}/{address}", body), endpoint).prompt
