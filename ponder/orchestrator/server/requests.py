"""Requests in OpenAI's form, read from untrusted JSON: unknown keys and settings that nothing here
honours are errors, never dropped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ponder.orchestrator.server.refusals import Refusal, invalid
from ponder.runtime import Message, unknown

T = TypeVar("T", bound="Request")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Limits(Strict):
    """A request's own budget, for each choice; see `Budget`."""

    tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    calls: int | None = Field(default=None, ge=1)


class Options(Strict):
    """What only Ponder understands: the key `ponder` of a request (`extra_body` in the client)."""

    strategy: str | dict[str, Any] | None = None  # Any: checked by the strategy notation
    """The name of a strategy, or one written out as in YAML; `model` then names the engine."""
    budget: Limits = Limits()
    instruction: str | None = None
    """In place of the one that asks for a final answer in a box; empty for none."""


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Turn(Strict):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def message(self) -> Message:
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        role = "system" if self.role == "developer" else self.role
        return Message(role=role, content=text)


class Request(Strict):
    """What chats and completions have in common."""

    model: str
    n: int = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    ponder: Options = Options()
    # Nothing here reads these; they change nothing about the reply.
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Only their neutral values can be honoured.
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_scores(self) -> bool:
        return False

    @property
    def limit(self) -> int | None:
        """Tokens of one choice, at most."""
        return self.max_tokens

    def check(self) -> None:
        """Raises `Refusal` for what cannot be honoured."""
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(self, name):
                raise _unsupported(name, getattr(self, name), "0")
        if not all(self.stops):
            raise invalid(f"stop is {self.stop!r}; a stop string has at least one character")


class ChatRequest(Request):
    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None  # Any: only {"type": "text"} is taken
    tools: list[Any] | None = None  # Any: only an empty list is taken
    tool_choice: Any = None  # only "none" and "auto" are taken
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None

    @property
    def wants_scores(self) -> bool:
        return bool(self.logprobs)

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def check(self) -> None:
        super().check()
        if self.response_format not in (None, {"type": "text"}):
            raise _unsupported("response_format", self.response_format, '{"type": "text"}')
        if self.tools:
            raise _unsupported("tools", f"{len(self.tools)} tools", "no tools")
        if self.tool_choice not in (None, "none", "auto"):
            raise _unsupported("tool_choice", self.tool_choice, '"none" or "auto"')
        if self.top_logprobs:
            raise _unsupported("top_logprobs", self.top_logprobs, "0")
        if self.reasoning_effort is not None:
            raise _unsupported("reasoning_effort", self.reasoning_effort, "nothing; see `ponder`")
        if self.messages[-1].role != "user":
            raise invalid(
                f"the last message is the {self.messages[-1].role}'s; it must be the user's",
                field="messages",
            )


class CompletionRequest(Request):
    prompt: str | list[str]
    logprobs: int | None = None
    echo: bool = False
    best_of: int | None = None
    suffix: str | None = None

    @property
    def text(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def wants_scores(self) -> bool:
        return self.logprobs is not None

    def check(self) -> None:
        super().check()
        if not isinstance(self.prompt, str) and len(self.prompt) != 1:
            raise invalid(f"prompt is a list of {len(self.prompt)}; give one text", field="prompt")
        for name, neutral in (("echo", False), ("suffix", None), ("best_of", None)):
            if getattr(self, name) != neutral:
                raise _unsupported(name, getattr(self, name), repr(neutral))
        if self.logprobs not in (None, 0, 1):
            raise _unsupported("logprobs", self.logprobs, "0 or 1, the drawn token's own")


def read(kind: type[T], raw: bytes) -> T:
    """A request of `kind`.

    Raises:
        Refusal: it is not JSON, or not such a request; says where.
    """
    try:
        request = kind.model_validate_json(raw)
    except ValidationError as error:
        raise _told(kind, error) from error
    request.check()
    return request


def _told(kind: type[Request], error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return invalid(unknown("setting", place, kind.model_fields), field=place)
    where = f"{place}: " if place else "the body: "
    return invalid(f"{where}{first['msg']}", field=place or None)


def _unsupported(name: str, value: object, allowed: str) -> Refusal:
    return invalid(
        f"{name} is {value!r}; this server takes {allowed}", field=name, code="unsupported"
    )
