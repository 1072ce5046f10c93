"""Events as OpenAI's JSON: whole replies, and the pieces of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.orchestrator.server.events import End, Event, Piece, TokenScore, Total
from ponder.runtime import Usage

JSON = dict[str, Any]


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
        made: JSON = {"index": index, "finish_reason": end.finish if end else None}
        if self._header.chat:
            made["message"] = {"role": "assistant", "content": text, "refusal": None}
            made["logprobs"] = chat_scores(end.scores) if end and end.scores is not None else None
        else:
            made["text"] = text
            made["logprobs"] = text_scores(end.scores) if end and end.scores is not None else None
        return made


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
    scores = None
    if event.scores is not None:
        scores = (chat_scores if header.chat else text_scores)(event.scores)
    choice = {"index": event.choice, **said, "finish_reason": event.finish, "logprobs": scores}
    told = {} if event.told is None else {"ponder": dict(event.told)}
    return {**header.part([choice], chunk=True), **told}


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
        {
            "token": score.token,
            "logprob": score.logprob,
            "bytes": list(score.token.encode()),
            "top_logprobs": [],
        }
        for score in scores
    ]
    return {"content": content, "refusal": None}


def text_scores(scores: Sequence[TokenScore]) -> JSON:
    offsets, at = list[int](), 0
    for score in scores:
        offsets.append(at)
        at += len(score.token)
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": None,
        "text_offset": offsets,
    }
