"""Views: a branch's KV as an ordered list of spans of pages.

Every operation is pointer work on page numbers; no tensor is touched. Knows nothing of tokens, only
how many there are. Sealing is implicit: a tail grows in place while nobody else holds its last
page, and otherwise continues in a new page, so a shared page is never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.runners.api import PAGE, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`length` tokens that start `offset` tokens into the first of `pages` and run on through the
    rest.
    """

    pages: tuple[int, ...]
    offset: int
    length: int
    shift: int = 0
    """View position minus the position its keys were rotated for."""

    @property
    def room(self) -> int:
        """Unused places in the last page."""
        return len(self.pages) * PAGE - self.offset - self.length

    def slots(self) -> Slots:
        starts = np.asarray(self.pages, np.int64)[:, None] * PAGE
        return (starts + np.arange(PAGE)).reshape(-1)[self.offset : self.offset + self.length]

    def cut(self, start: int, stop: int) -> Span:
        """Tokens `start` to `stop` (not empty) of this span."""
        first, last = (self.offset + start) // PAGE, (self.offset + stop - 1) // PAGE
        return Span(
            pages=self.pages[first : last + 1],
            offset=(self.offset + start) % PAGE,
            length=stop - start,
            shift=self.shift,
        )


def cut(spans: Iterable[Span], start: int, stop: int) -> list[Span]:
    """Tokens `start` to `stop` of a list of spans, neighbours in memory joined."""
    result: list[Span] = []
    position = 0
    for span in spans:
        low, high = max(start - position, 0), min(stop - position, span.length)
        if low < high:
            _join(result, span.cut(low, high))
        position += span.length
    return result


def _join(spans: list[Span], span: Span) -> None:
    """Append `span`, merged into the last one where it goes on at the very next place."""
    last = spans[-1] if spans else None
    if last is None or last.shift != span.shift:
        spans.append(span)
    elif last.room == 0 and span.offset == 0:
        spans[-1] = replace(last, pages=last.pages + span.pages, length=last.length + span.length)
    elif last.pages[-1] == span.pages[0] and PAGE - last.room == span.offset:
        spans[-1] = replace(
            last, pages=last.pages + span.pages[1:], length=last.length + span.length
        )
    else:
        spans.append(span)


class View:
    """Spans in order, each holding its pages once."""

    def __init__(self, pool: PagePool, spans: Sequence[Span] = ()) -> None:
        self._pool = pool
        self.spans = list(spans)
        for span in self.spans:
            pool.retain(span.pages)
        self.length = sum(span.length for span in self.spans)
        empty = np.empty(0, np.int64)
        self._buffer: Slots = np.concatenate([empty, *(span.slots() for span in self.spans)])

    @property
    def slots(self) -> Slots:
        """The place of each token, in order."""
        return self._buffer[: self.length]

    def fork(self) -> View:
        """Another view of the same pages; nothing is copied but numbers."""
        return View(self._pool, self.spans)

    def pages_needed(self, tokens: int) -> int:
        """New pages that growing by `tokens` takes."""
        rest = tokens - self._room()
        return -(-(self._lead() + rest) // PAGE) if rest > 0 else 0

    def fits(self) -> int:
        """Tokens it can grow by with the pages free now."""
        fresh = self._pool.free * PAGE - self._lead() if self._pool.free else 0
        return self._room() + fresh

    def grow(self, tokens: int) -> Slots:
        """Places for `tokens` more; the caller fills them."""
        room, lead = self._room(), self._lead()
        inside = min(room, tokens)
        if inside:
            last = self.spans[-1]
            start = last.pages[-1] * PAGE + PAGE - room
            self.spans[-1] = replace(last, length=last.length + inside)
            self._remember(np.arange(start, start + inside))
        if tokens > inside:
            rest = tokens - inside
            fresh = [self._pool.allocate() for _ in range(-(-(lead + rest) // PAGE))]
            span = Span(pages=tuple(fresh), offset=lead, length=rest)
            _join(self.spans, span)
            self._remember(span.slots())
        return self._buffer[self.length - tokens : self.length]

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if length >= self.length:
            return
        kept = cut(self.spans, 0, length)
        for span in kept:
            self._pool.retain(span.pages)
        self.release()
        self.spans, self.length = kept, length

    def release(self) -> None:
        """Let go of everything; the view is empty then."""
        for span in self.spans:
            self._pool.release(span.pages)
        self.spans, self.length = [], 0

    def _room(self) -> int:
        last = self.spans[-1] if self.spans else None
        if last is None or self._pool.holders(last.pages[-1]) > 1:
            return 0
        return last.room

    def _lead(self) -> int:
        """Places left empty at the start of the next new page, so that a token's place in its page
        is its position's: kernels read whole pages at whole positions.
        """
        return (self.length + self._room()) % PAGE

    def _remember(self, slots: Slots) -> None:
        start, stop = self.length, self.length + len(slots)
        if stop > len(self._buffer):
            bigger = np.empty(max(2 * len(self._buffer), stop, 4 * PAGE), np.int64)
            bigger[:start] = self.slots
            self._buffer = bigger
        self._buffer[start:stop] = slots
        self.length = stop
