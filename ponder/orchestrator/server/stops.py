"""Text up to a stop string, which OpenAI's interface leaves out of the reply."""

from __future__ import annotations

from collections.abc import Sequence


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
