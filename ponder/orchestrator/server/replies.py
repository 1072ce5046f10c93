"""Events as OpenAI's JSON: whole replies, and the pieces of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.orchestrator.server.events import End, Event, Piece, TokenScore, Total
from ponder.runtime import ToolCall, Usage

JSON = dict[str, Any]
NEVER = -9999.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What all parts of one reply carry."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    chat: bool
    seed: int

    def part(self, choices: list[JSON], *, chunk: bool) -> JSON:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(slots=True, kw_only=True)
class _Choice:
    text: list[str] = field(default_factory=list[str])
    end: End | None = None


class Reply:
    """Takes all events in and gives the whole reply."""

    def __init__(self, header: Header, choices: int) -> None:
        self._header = header
        self._choices = [_Choice() for _ in range(choices)]
        self.usage = Usage()

    def take(self, event: Event) -> None:
        if isinstance(event, Piece):
            self._choices[event.choice].text.append(event.text)
        elif isinstance(event, End):
            self._choices[event.choice].end = event
        elif isinstance(event, Total):
            self.usage = event.usage

    def whole(self) -> JSON:
        made = [self._choice(i, choice) for i, choice in enumerate(self._choices)]
        told = [dict(c.end.told) if c.end and c.end.told else {} for c in self._choices]
        return {
            **self._header.part(made, chunk=False),
            "usage": usage_data(self.usage),
            "ponder": ponder_data(self._header, self.usage, told),
        }

    def _choice(self, index: int, choice: _Choice) -> JSON:
        text, end = "".join(choice.text), choice.end
        made: JSON = {"index": index, **_ended(self._header, end)}
        if not self._header.chat:
            return {**made, "text": text}
        message: JSON = {"role": "assistant", "content": text, "refusal": None}
        if end and end.calls:
            message |= {"content": text or None, "tool_calls": calls_data(end.calls)}
        return {**made, "message": message}


def piece_data(header: Header, event: Piece) -> JSON:
    said: JSON = {"delta": {"content": event.text}} if header.chat else {"text": event.text}
    return header.part(
        [{"index": event.choice, **said, "finish_reason": None, "logprobs": None}], chunk=True
    )


def opening_data(header: Header, choice: int) -> JSON:
    """A chat's stream opens each choice with its role."""
    delta = {"role": "assistant", "content": ""}
    return header.part(
        [{"index": choice, "delta": delta, "finish_reason": None, "logprobs": None}], chunk=True
    )


def end_data(header: Header, event: End) -> JSON:
    said: JSON = {"delta": {}} if header.chat else {"text": ""}
    if event.calls:
        calls = calls_data(event.calls)
        said["delta"] = {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]}
    choice = {"index": event.choice, **said, **_ended(header, event)}
    told = {} if event.told is None else {"ponder": dict(event.told)}
    return {**header.part([choice], chunk=True), **told}


def _ended(header: Header, end: End | None) -> JSON:
    if end is None:
        return {"finish_reason": None, "logprobs": None}
    scores = None
    if end.scores is not None:
        scores = (chat_scores if header.chat else text_scores)(end.scores)
    return {"finish_reason": end.finish, "stop_reason": end.stopped, "logprobs": scores}


def calls_data(calls: Sequence[ToolCall]) -> list[JSON]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def total_data(header: Header, event: Total) -> JSON:
    return {
        **header.part([], chunk=True),
        "usage": usage_data(event.usage),
        "ponder": ponder_data(header, event.usage, []),
    }


def usage_data(usage: Usage) -> JSON:
    """Every token counts: those of prompts and of scoring were read, the others drawn."""
    read = usage.prompt + usage.scored
    return {
        "prompt_tokens": read,
        "completion_tokens": usage.decoded,
        "total_tokens": read + usage.decoded,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def ponder_data(header: Header, usage: Usage, choices: Sequence[Mapping[str, object]]) -> JSON:
    """What OpenAI's form has no place for."""
    return {"seed": header.seed, "scored_tokens": usage.scored, "choices": list(choices)}


def chat_scores(scores: Sequence[TokenScore]) -> JSON:
    content = [
        {**_score(score), "top_logprobs": [_score(other) for other in score.likeliest]}
        for score in scores
    ]
    return {"content": content, "refusal": None}


def _score(score: TokenScore) -> JSON:
    return {
        "token": score.token,
        "logprob": _finite(score.logprob),
        "bytes": list(score.token.encode()),
    }


def _finite(logprob: float | None) -> float | None:
    """JSON has no infinity; OpenAI writes what is never drawn so."""
    return logprob if logprob is None else max(logprob, NEVER)


def text_scores(scores: Sequence[TokenScore]) -> JSON:
    offsets, at = list[int](), 0
    for score in scores:
        offsets.append(at)
        at += len(score.token)
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [_finite(score.logprob) for score in scores],
        "top_logprobs": None,
        "text_offset": offsets,
    }
