"""One choice of a reply, as it grows out of pieces; a whole reply is one piece."""

from __future__ import annotations

import json

from ponder.runtime.confidence import confidence_of
from ponder.runtime.errors import ModelError
from ponder.runtime.remote.faults import EndpointError
from ponder.runtime.remote.wire import Choice, Logprobs, ToolPart
from ponder.runtime.values import Finish, Sampling, ToolCall

_FINISHES = {
    "stop": Finish.EOS,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOLS,
    "function_call": Finish.TOOLS,
}


class Growing:
    """Fed choice by choice."""

    def __init__(self, params: Sampling, where: str, *, cut: bool) -> None:
        """With `cut`, stop strings are ours to find: the endpoint was told of none."""
        self._params = params
        self._where = where
        self._cut = cut
        self.reset()

    def reset(self) -> None:
        """Forget everything: the reply is asked for again."""
        self.text = ""
        self.reasoning = ""
        self.logprobs = list[float]()
        self.confidences = list[float]()
        self.finish: Finish | None = None
        self.touched = False
        """Something came, if only an empty piece."""
        self._contents = 0
        self._tools = dict[int, ToolPart]()

    def feed(self, choice: Choice) -> str:
        """What the piece added to the text.

        Raises:
            EndpointError: its finish reason is none of those there are, or it was withheld.
        """
        if self.finish is not None:
            return ""
        self.touched = True
        before = len(self.text)
        part = choice.part
        if part is not None:
            if part.refusal:
                raise ModelError(f"{self._where}: the model refused: {part.refusal!r}")
            self._contents += part.content is not None
            self.text += part.content or ""
            self.reasoning += part.reasoning_content or part.reasoning or ""
            self._add_tools(part.tool_calls or [])
        if choice.logprobs is not None:
            self.logprobs += numbers(choice.logprobs)
            if self._params.confidence:
                self.confidences += self._confidences(choice.logprobs)
        if choice.finish_reason is not None:
            self._end(choice.finish_reason, choice.stop_reason)
        if self._cut:
            self._find_stop(before)
        return self.text[before:]

    def check(self) -> None:
        """Raises `EndpointError` when a reply that is over has no end, or nothing in it."""
        if self.finish is None:
            raise EndpointError(
                f"{self._where}: the reply broke off after {len(self.text)} characters, without a "
                "finish reason",
                retryable=True,
            )
        if not (self._contents or self.reasoning or self._tools):
            raise EndpointError(
                f"{self._where}: the reply has no content (null) and no tool call",
                retryable=True,
            )

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Raises `ModelError` when arguments are no JSON."""
        return tuple(map(self._tool_call, self._tools.values()))

    def _add_tools(self, parts: list[ToolPart]) -> None:
        for place, part in enumerate(parts):
            index = place if part.index is None else part.index
            known = self._tools.setdefault(index, ToolPart())
            known.id = known.id or part.id
            known.function.name = known.function.name or part.function.name
            known.function.arguments = (known.function.arguments or "") + (
                part.function.arguments or ""
            )

    def _confidences(self, logprobs: Logprobs) -> list[float]:
        told = likeliest(logprobs)
        if not all(told):
            raise ModelError(
                f"{self._where}: the reply lacks the log-probabilities of other tokens, which the "
                "endpoint told when it was probed; probe it again (probe=True)"
            )
        return [confidence_of(each, self._params.confidence) for each in told]

    def _tool_call(self, part: ToolPart) -> ToolCall:
        name, arguments = part.function.name or "", part.function.arguments or ""
        try:
            json.loads(arguments)
        except ValueError as error:
            raise ModelError(
                f"{self._where}: the model called tool {name!r} with {arguments!r}, which is no "
                f"JSON: {error}"
            ) from error
        return ToolCall(id=part.id or "", name=name, arguments=arguments)

    def _end(self, reason: str, stop: int | str | None) -> None:
        if reason == "content_filter":
            raise ModelError(f"{self._where}: the reply was withheld (finish reason {reason!r})")
        if reason not in _FINISHES:
            raise ModelError(
                f"{self._where}: unknown finish reason {reason!r}; known: {', '.join(_FINISHES)}"
            )
        self.finish = _FINISHES[reason]
        if self.finish is Finish.EOS and isinstance(stop, str) and stop in self._params.stop:
            self.finish = Finish.STOP
            self.text += "" if self.text.endswith(stop) else stop

    def _find_stop(self, before: int) -> None:
        """End after the first stop string, which no earlier piece completed."""
        ends: list[int] = []
        for stop in self._params.stop:
            place = self.text.find(stop, max(0, before - len(stop) + 1))
            if place >= 0:
                ends.append(place + len(stop))
        if ends:
            self.text = self.text[: min(ends)]
            self.finish = Finish.STOP


def numbers(logprobs: Logprobs) -> list[float]:
    """Nats, one a token, of chat or of completions."""
    if logprobs.content is not None:
        return [token.logprob for token in logprobs.content]
    return [value for value in logprobs.token_logprobs or [] if value is not None]


def likeliest(logprobs: Logprobs) -> list[list[float]]:
    """Nats of the likeliest tokens in place of each, of chat."""
    return [[top.logprob for top in token.top_logprobs] for token in logprobs.content or []]
