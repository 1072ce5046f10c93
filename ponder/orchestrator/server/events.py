"""What happens while a request is answered, whatever answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ponder.runtime import Finish, ToolCall, Usage

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Work is going on, but there is nothing to show yet."""

    calls: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Text of one choice, to be put after what came before."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScore:
    token: str
    """Empty within a character that several tokens spell; its last token has it."""
    logprob: float | None
    """Nats; None for the first token of a prompt."""
    likeliest: tuple[TokenScore, ...] = ()
    """Those the model thought likeliest there, where they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One choice is whole."""

    choice: int
    finish: FinishReason
    scores: tuple[TokenScore, ...] | None = None
    """A token each, drawn or echoed, where they were asked for."""
    calls: tuple[ToolCall, ...] = ()
    stopped: str | None = None
    """The stop string that ended it."""
    told: Mapping[str, object] | None = None
    """What a strategy says of this choice; JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The last event."""

    usage: Usage


Event = Progress | Piece | End | Total


def finish_reason(finish: Finish) -> FinishReason:
    """A budget that ends a decode is a limit on its length."""
    if finish is Finish.TOOLS:
        return "tool_calls"
    return "stop" if finish in (Finish.STOP, Finish.EOS) else "length"
