"""What OpenAI's interface leaves out of a reply's text: stop strings, and calls of tools."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime import OPENING, ToolCall, without_calls


def before(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first stop string in it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


class Held:
    """Text as it comes, less what may turn out to be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self._over = False

    def push(self, text: str) -> str:
        """What is certain now and was not before."""
        if self._over:
            return ""
        whole = self._held + text
        certain = before(whole, self._stops)
        self._over = certain != whole
        self._held = "" if self._over else self._doubtful(whole)
        return certain if self._over else whole[: len(whole) - len(self._held)]

    def rest(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held

    def _doubtful(self, text: str) -> str:
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return text[-size:]
        return ""


class Uncalled:
    """Text as it comes, less calls of tools; from where one may have begun, it waits for the end,
    which tells what was a call.
    """

    def __init__(self) -> None:
        self._before = Held((OPENING,))
        self._said = 0
        self._whole = ""

    def push(self, text: str) -> str:
        self._whole += text
        certain = self._before.push(text)
        self._said += len(certain)
        return certain

    def rest(self, calls: Sequence[ToolCall]) -> str:
        """What was held back, once no more text comes and its calls are known."""
        held = self._whole[self._said :]
        return without_calls(held).strip() if calls else held
