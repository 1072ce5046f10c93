"""Calls that read what the model makes of tokens and commit nothing: log-probabilities, logits,
heads, embeddings.

A reading runs on a fork of its branch, cut back to the first token it reads: only these tokens'
hidden states have to be computed, for all before them KV is enough. In chunks and after a
preemption it goes on where it stopped. Where KV was kept across an edit or came from a live view,
computing several tokens would replace it: there each token has a reading of its own. Knows nothing
of lanes and pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ponder.runtime.engine.jobs import Job
from ponder.runtime.engine.journal import Journal
from ponder.runtime.errors import ModelError
from ponder.runtime.kernels.arrays import floats
from ponder.runtime.models.heads import Head
from ponder.runtime.runners.sampler import NOT_FINITE, log_normalisers
from ponder.runtime.values import Logits, Scored, Usage


class Reading(Job):
    """Something of each of the tokens `start` to `stop`, in order."""

    def __init__(self, start: int, stop: int, given: Sequence[int] = ()) -> None:
        super().__init__()
        self.start = start
        self.stop = stop
        self.given = given
        """Tokens that follow those of the branch up to `stop`, and are read too."""
        self.taken = 0
        self.counted = False
        """Whether it is in the engine's counters, and so to be charged."""

    @property
    def usage(self) -> Usage:
        return Usage(scored=self.taken) if self.counted else Usage()

    def wanted(self, tokens: int) -> int:
        return self.start + self.taken

    def take(self, row: Tensor) -> None:
        """The next token's [hidden] state or [vocabulary] logits, finite."""
        raise NotImplementedError

    def accept(self, row: Tensor, finite: bool) -> bool:
        """Take a row, unless the job is over or the row is not finite, which ends it."""
        if self.over:
            return False
        if not finite:
            self.end(ModelError(f"{NOT_FINITE}; its weights may be damaged"))
            return False
        self.take(row)
        self.taken += 1
        return True


class StateReading(Reading):
    """Reads hidden states; no logits are computed for it."""


class HeadReading(StateReading):
    """A head's outputs."""

    def __init__(self, head: Head, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.outputs: list[tuple[float, ...]] = []
        self._head = head

    def take(self, row: Tensor) -> None:
        self.outputs.append(self._head(row))


class Embedding(StateReading):
    """The sum of all states read."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.total: Tensor | None = None

    def take(self, row: Tensor) -> None:
        # One by one, so that the sum does not depend on how the tokens were cut into chunks.
        self.total = row.double() if self.total is None else self.total + row


class SpanLogits(Reading):
    """Logits of the token after each."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.logits: list[Logits] = []

    def take(self, row: Tensor) -> None:
        self.logits.append(floats(row))


class ScorePart(Reading):
    """Log-probabilities of one continuation."""

    def __init__(self, continuation: Sequence[int], length: int) -> None:
        """`length` is the branch's; its last token is the first that is read."""
        super().__init__(length - 1, length, continuation[:-1])
        self.logprobs: list[float] = []
        self._continuation = tuple(continuation)

    @property
    def scored(self) -> Scored:
        return Scored(tokens=self._continuation, logprobs=tuple(self.logprobs))

    def take(self, row: Tensor) -> None:
        token = self._continuation[self.taken]
        value = row[token].double() - log_normalisers(row[None]).double()
        self.logprobs.append(min(float(value), 0.0))


def stretches(journal: Journal, start: int, stop: int, *, live: bool) -> Iterator[tuple[int, int]]:
    """Tokens `start` to `stop`, cut into what one reading may read: what depends on tokens alone,
    what follows the journal's past, and single tokens elsewhere.
    """
    first, last = (0, stop) if live else (journal.plain, len(journal.past))
    inner = range(max(start, first), min(stop, last) + 1)
    yield from pairwise(sorted({start, stop, *inner}))


def mean(parts: Sequence[Embedding]) -> tuple[float, ...]:
    totals = [part.total for part in parts if part.total is not None]
    if not totals:
        raise ModelError("an embedding of no tokens: a bug in the engine")
    taken = sum(part.taken for part in parts)
    return tuple(floats(torch.stack(totals).sum(dim=0) / taken))
