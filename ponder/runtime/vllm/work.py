"""What a branch asks of vLLM, each as one request or a few: the whole journal is the prompt, and
the prefix cache saves computing it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ponder.runtime.engine.jobs import Decode
from ponder.runtime.errors import ModelError
from ponder.runtime.picking import Row
from ponder.runtime.values import Finish, Logits, Scored, Usage
from ponder.runtime.vllm.backend import EVERY, Backend, Piece
from ponder.runtime.vllm.counts import Counts
from ponder.runtime.vllm.wish import Wish

AT_ONCE = 8
"""Positions whose logits are asked for together: each is a row of the vocabulary in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What all requests of a branch have in common."""

    priority: int = 0
    adapter: str | None = None


class Work:
    """Belongs to the backend's event loop."""

    def __init__(self, backend: Backend) -> None:
        self.counts = Counts()
        self._backend = backend

    async def give(self, lane: Lane, tokens: Sequence[int], start: int, *, opened: bool) -> Usage:
        """Have the KV of all tokens computed, of which those from `start` on are to be charged."""
        piece = await self._one(lane, tokens)
        return self.counts.gave(len(tokens), start, piece.cached, opened=opened)

    async def decode(
        self, lane: Lane, tokens: Sequence[int], job: Decode, wish: Wish, limit: int
    ) -> None:
        """Feed `job` until it is over; it is, at the end."""
        pieces = self._backend.ask(
            tokens,
            priority=lane.priority,
            adapter=lane.adapter,
            max_tokens=limit,
            temperature=0,  # the wish draws
            stop_token_ids=sorted(wish.ends),
            logprobs=job.confidence,
            extra_args=wish.told(),
        )
        begun = False
        try:
            async with asyncio.timeout_at(job.deadline), aclosing(pieces):
                async for piece in pieces:
                    if not begun:
                        begun = True
                        self.counts.began(len(tokens), piece.cached)
                    self._take(piece, job)
                    if job.over and not piece.last:
                        return
        except TimeoutError:
            job.close(Finish.BUDGET)
        if not job.over:
            raise ModelError(f"vLLM ended a request after {len(job.drawn)} of {limit} tokens")

    async def score(self, lane: Lane, past: Sequence[int], given: Sequence[int]) -> Scored:
        """Log-probabilities of the tokens `given` after the past.

        vLLM leaves out those of tokens it finds in its cache, so by itself it computes the whole
        prompt. But the past's are not wanted: its cache is read, and only where the continuation is
        in it too, everything is computed.
        """
        if not given:
            return Scored(tokens=(), logprobs=())
        tokens = [*past, *given]
        for skip in (False, True):
            piece = await self._one(lane, tokens, prompt_logprobs=0, skip_reading_prefix_cache=skip)
            self.counts.read(
                len(tokens), piece.cached, len(given) if piece.cached < len(past) else 0
            )
            if piece.cached < len(past):
                return Scored(tokens=tuple(given), logprobs=piece.given[-len(given) :])
        raise ModelError(f"vLLM told no log-probabilities of {len(given)} tokens")

    async def logits(self, lane: Lane, tokens: Sequence[int], ends: range) -> list[Logits]:
        """Of the token after each of the first `ends` tokens."""
        found: list[Logits] = []
        for first in range(0, len(ends), AT_ONCE):
            some = ends[first : first + AT_ONCE]
            found += await asyncio.gather(*(self._row(lane, tokens[:end]) for end in some))
        return found

    async def row(self, lane: Lane, tokens: Sequence[int]) -> Row:
        """Logits after all tokens, normalised, for a token that is drawn by its caller."""
        import numpy as np

        piece = await self._one(lane, tokens, logprobs=EVERY)
        self.counts.showed(len(tokens), piece.cached)
        return np.array(piece.every, dtype=np.float32)

    async def _row(self, lane: Lane, tokens: Sequence[int]) -> Logits:
        piece = await self._one(lane, tokens, logprobs=EVERY)
        self.counts.read(len(tokens), piece.cached, 1)
        return piece.every

    async def _one(self, lane: Lane, tokens: Sequence[int], **params: object) -> Piece:
        """The one piece of a request that draws one token, for nobody."""
        pieces = self._backend.ask(
            tokens,
            priority=lane.priority,
            adapter=lane.adapter,
            max_tokens=1,
            temperature=0,
            **params,
        )
        found: Piece | None = None
        async with aclosing(pieces):
            async for piece in pieces:
                found = piece
        if found is not None:
            return found
        raise ModelError(f"vLLM ended a request of {len(tokens)} tokens without a word")

    def _take(self, piece: Piece, job: Decode) -> None:
        told = piece.confidences or [None] * len(piece.tokens)
        for token, logprob, sure in zip(piece.tokens, piece.logprobs, told, strict=True):
            if logprob != logprob:
                raise ModelError(
                    f"the model's logits are not finite after {len(job.drawn)} tokens of a decode; "
                    "its weights may be damaged"
                )
            before = len(job.drawn)
            job.commit(token, min(logprob, 0.0), self.counts.drew, sure)
            if len(job.drawn) == before:
                self.counts.drew_in_vain()
