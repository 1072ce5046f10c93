"""An attempt that is decoded in chunks, so that it can be weighed between two of them.

On engines that draw by path and position it comes to what one decode would be, where it ends too:
an engine finds a stop string within one call, so those that lie across chunks are found here.
"""

from __future__ import annotations

from dataclasses import replace

from ponder.runtime import Branch, Engine, Finish, Sampling, Usage
from ponder.strategies.prompting import begun_at

_REACH = 4
"""Tokens that one character takes at most."""


class Chunked:
    """See the module. The branch stays its owner's."""

    def __init__(self, engine: Engine, branch: Branch, params: Sampling) -> None:
        self.finish: Finish | None = None
        """None while it goes on."""
        self.usage = Usage()
        """All that was drawn for it, behind a stop string too."""
        self.logprobs: list[float] = []
        self.confidences: list[float] = []
        self._engine = engine
        self._branch = branch
        self._params = params
        self._start = len(branch.tokens)

    async def grow(self, most: int) -> None:
        """Draw up to `most` tokens more. Raises as `Branch.extend` does."""
        most = min(most, self._params.max_tokens - self.usage.decoded)
        before = len(self._branch.tokens)
        chunk = begun_at(replace(self._params, max_tokens=most), self._start)
        segment = await self._branch.extend(chunk)
        self.usage += segment.usage
        self.logprobs += segment.logprobs
        self.confidences += segment.confidences
        spent = self.usage.decoded >= self._params.max_tokens or segment.usage.decoded < most
        if segment.finish is not Finish.LENGTH or spent:
            self.finish = segment.finish
        self._stop(before)

    def _stop(self, before: int) -> None:
        """End behind a stop string that the chunk from token `before` on completed."""
        tokens = self._branch.tokens
        reach = _REACH * max(map(len, self._params.stop), default=0)
        first = max(self._start, before - reach)
        for end in range(before + 1, min(before + reach, len(tokens)) + 1):
            text = self._engine.spell(tokens[first:end])
            if any(stop in text for stop in self._params.stop):
                self._cut(len(tokens) - end)
                return

    def _cut(self, more: int) -> None:
        self.finish = Finish.STOP
        if more:
            self._branch.rewind(len(self._branch.tokens) - more)
            if self._engine.capabilities.token_ids:  # else one is not the other's
                del self.logprobs[-more:]
                del self.confidences[-more:]
