"""Views: a branch's KV as an ordered list of spans of pages.

Every operation is pointer work on page numbers; no tensor is touched. Knows nothing of tokens, only
how many there are. Sealing is implicit: a tail grows in place while nobody else holds its last
page, and otherwise continues in a new page, so a shared page is never written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.spans import Layout, Span, add, cut
from ponder.runtime.runners.api import PAGE, Slots


class View:
    """Spans in order, each holding its pages once."""

    def __init__(self, pool: PagePool, spans: Sequence[Span] = ()) -> None:
        self._pool = pool
        self.spans = list(spans)
        for span in self.spans:
            pool.retain(span.pages)
        self.layout = Layout(self.spans)

    @property
    def length(self) -> int:
        """Tokens."""
        return self.layout.length

    @property
    def slots(self) -> Slots:
        return self.layout.slots

    @property
    def alone(self) -> int:
        """Pages that nobody else holds."""
        own = Counter(page for span in self.spans for page in span.pages)
        return sum(self._pool.holders(page) == count for page, count in own.items())

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
        """Places for `tokens` more, at the positions behind all others; the caller fills them."""
        room, lead = self._room(), self._lead()
        inside = min(room, tokens)
        if inside:
            last = self.spans[-1]
            self.spans[-1] = replace(last, length=last.length + inside)
            self.layout.place(self.spans[-1].cut(last.length, last.length + inside))
        if tokens > inside:
            rest = tokens - inside
            fresh = [self._pool.allocate() for _ in range(-(-(lead + rest) // PAGE))]
            span = Span(pages=tuple(fresh), offset=lead, length=rest, home=self.layout.end)
            add(self.spans, span)
            self.layout.place(span)
        return self.slots[len(self.slots) - tokens :]

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if length >= self.length:
            return
        kept = cut(self.spans, 0, length)
        for span in kept:
            self._pool.retain(span.pages)
        self.release()
        self.spans, self.layout = kept, Layout(kept)

    def release(self) -> None:
        """Let go of everything; the view is empty then."""
        for span in self.spans:
            self._pool.release(span.pages)
        self.spans, self.layout = [], Layout()

    def _room(self) -> int:
        """Places left in a last page that goes on in place and position, and is nobody else's."""
        last = self.spans[-1] if self.spans else None
        if last is None or last.shift or last.end != self.layout.end:
            return 0
        return 0 if self._pool.holders(last.pages[-1]) > 1 else last.room

    def _lead(self) -> int:
        """Places left empty at the start of the next new page, so that a token's offset in its page
        is its place's: kernels read whole pages.
        """
        return (self.layout.start(0) + self._room()) % PAGE
