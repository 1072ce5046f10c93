"""Requests in OpenAI's form, read from untrusted JSON: unknown keys and settings that nothing here
honours are errors, never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from ponder.orchestrator.server.malformed import told
from ponder.orchestrator.server.refusals import Refusal, invalid
from ponder.orchestrator.server.turns import (
    JSON,
    Conversation,
    NamedTool,
    Strict,
    ToolChoice,
    check_choice,
)
from ponder.runtime import Tokens

Id = Annotated[int, Field(ge=0)]
"""Of a token."""


class Checked(Strict):
    """Has a check of its own behind that of its form."""

    def check(self) -> None:
        """Raises `Refusal` for what cannot be honoured."""


T = TypeVar("T", bound=Checked)


class Limits(Strict):
    """A request's own budget, for each choice; see `Budget`."""

    tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    calls: int | None = Field(default=None, ge=1)


class Options(Strict):
    """What only Ponder understands: the key `ponder` of a request (`extra_body` in the client)."""

    strategy: str | dict[str, Any] | None = None  # Any: checked by the strategy notation
    """The name of a strategy, or one written out as in YAML; `model` then names the engine."""
    budget: Limits = Field(default_factory=Limits)
    instruction: str | None = None
    """In place of the one that asks for a final answer in a box; empty for none."""


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class StructuredOutputs(Strict):
    """vLLM's field for what a reply must fit: one of these."""

    schema_: JSON | None = Field(default=None, alias="json")
    regex: str | None = None
    grammar: str | None = None
    """In llguidance's dialect of Lark."""


class Request(Checked):
    """What chats and completions have in common."""

    model: str
    n: int = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    # As vLLM and SGLang have them: 0 and -1 keep all tokens.
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, lt=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    response_format: JSON | None = None
    structured_outputs: StructuredOutputs | None = None
    ponder: Options = Field(default_factory=Options)
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
    def echoes(self) -> bool:
        """The reply begins with the prompt."""
        return False

    @property
    def likeliest(self) -> int:
        """Other tokens wanted beside each drawn one."""
        return 0

    @property
    def most(self) -> int | None:
        """Likeliest tokens to draw among; None for all."""
        return self.top_k if self.top_k and self.top_k > 0 else None

    @property
    def limit(self) -> int | None:
        """Tokens of one choice, at most."""
        return self.max_tokens

    def check(self) -> None:
        if self.limit == 0 and not self.echoes:
            raise invalid("max_tokens is 0; it must be at least 1 without echo", field="max_tokens")
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(self, name):
                raise _unsupported(name, getattr(self, name), "0")
        if not all(self.stops):
            raise invalid(f"stop is {self.stop!r}; a stop string has at least one character")


class ChatRequest(Conversation, Request):
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None

    @property
    def fields(self) -> JSON:
        """What `Chat` takes beside turns, but for what changes nothing."""
        said: JSON = {"response_format": self.response_format}
        if self.response_format == {"type": "text"}:
            said = {}
        if self.tools:
            choice = self.tool_choice
            said |= self.offered
            said["tool_choice"] = choice.model_dump() if isinstance(choice, NamedTool) else choice
            said["parallel_tool_calls"] = self.parallel_tool_calls
        neutral = {"tool_choice": "auto", "parallel_tool_calls": True}
        return {k: v for k, v in said.items() if v is not None and v != neutral.get(k)}

    @property
    def likeliest(self) -> int:
        return self.top_logprobs or 0

    @property
    def wants_scores(self) -> bool:
        return bool(self.logprobs)

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def check(self) -> None:
        super().check()
        self.check_conversation()
        check_choice(self.tool_choice, self.tools or ())
        if self.top_logprobs and not self.logprobs:
            raise invalid("top_logprobs needs logprobs: true", field="top_logprobs")
        if self.reasoning_effort is not None:
            raise _unsupported("reasoning_effort", self.reasoning_effort, "nothing; see `ponder`")


class CompletionRequest(Request):
    prompt: str | list[str] | list[Id] | list[list[Id]]
    logprobs: int | None = None
    echo: bool = False
    best_of: int | None = None
    suffix: str | None = None

    @property
    def given(self) -> str | Tokens:
        """The one prompt, as text or as tokens."""
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        if isinstance(prompt, str):
            return prompt
        if isinstance(prompt, int):
            return Tokens(ids=tuple(t for t in self.prompt if isinstance(t, int)))
        return Tokens(ids=tuple(prompt))

    @property
    def wants_scores(self) -> bool:
        return self.logprobs is not None

    @property
    def echoes(self) -> bool:
        return self.echo

    def check(self) -> None:
        super().check()
        _check_one(self.prompt)
        for name, neutral in (("suffix", None), ("best_of", None)):
            if getattr(self, name) != neutral:
                raise _unsupported(name, getattr(self, name), repr(neutral))
        if self.logprobs not in (None, 0, 1):
            raise _unsupported("logprobs", self.logprobs, "0 or 1, the drawn token's own")


def _check_one(prompt: str | Sequence[object]) -> None:
    """Raises `Refusal` unless there is one prompt, and something in a prompt of tokens."""
    if isinstance(prompt, str):
        return
    if not prompt or prompt[0] == []:
        raise invalid("prompt is an empty list; give at least one token", field="prompt")
    if not isinstance(prompt[0], int) and len(prompt) != 1:
        raise invalid(
            f"prompt is a list of {len(prompt)}; give one text, or one list of tokens",
            field="prompt",
        )


def read(kind: type[T], raw: bytes) -> T:
    """A request of `kind`.

    Raises:
        Refusal: it is not JSON, or not such a request; says where.
    """
    try:
        request = kind.model_validate_json(raw)
    except ValidationError as error:
        raise told(kind.model_fields, error, raw) from error
    request.check()
    return request


def _unsupported(name: str, value: object, allowed: str) -> Refusal:
    return invalid(
        f"{name} is {value!r}; this server takes {allowed}", field=name, code="unsupported"
    )
