"""What an endpoint's replies look like, checked as they come in: whole ones and pieces of streams,
of chat and of completions.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.faults import EndpointError, excerpt


class Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class ToolPart(BaseModel):
    index: int | None = None
    id: str | None = None
    function: Function = Function()


class Said(BaseModel):
    """A message, or the next piece of one."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolPart] | None = None


class TopToken(BaseModel):
    token: str
    logprob: float


class TokenLogprob(TopToken):
    top_logprobs: list[TopToken] = Field(default_factory=list[TopToken])


class Logprobs(BaseModel):
    content: list[TokenLogprob] | None = None
    """Of chat."""
    tokens: list[str] | None = None
    """Of completions, as are the rest."""
    token_logprobs: list[float | None] | None = None
    text_offset: list[int] | None = None


class Choice(BaseModel):
    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    text: str | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    """Which stop string ended it, where the endpoint tells."""

    @property
    def part(self) -> Said | None:
        return (
            self.message or self.delta or (None if self.text is None else Said(content=self.text))
        )


class PromptDetails(BaseModel):
    cached_tokens: int | None = None


class Told(BaseModel):
    """Token counts, as the endpoint tells them."""

    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None

    @property
    def cached(self) -> int:
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details else 0


class Reply(BaseModel):
    choices: list[Choice]
    usage: Told | None = None


class Listed(BaseModel):
    id: str
    max_model_len: int | None = None
    context_length: int | None = None


class Listing(BaseModel):
    data: list[Listed]


class Tokenised(BaseModel):
    tokens: list[int]


Read = TypeVar("Read", bound=BaseModel)


def read(kind: type[Read], text: str, endpoint: Endpoint) -> Read:
    """Parse a reply.

    Raises:
        EndpointError: it is not what it should be; shows how it begins.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place}: {first['msg']}" if place else first["msg"]
        raise EndpointError(
            f"endpoint {endpoint.host!r} sent a malformed reply ({wrong}); it begins with "
            f"{endpoint.hide(excerpt(text))}",
            retryable=True,
        ) from error
