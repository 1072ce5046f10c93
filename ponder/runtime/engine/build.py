"""The way to a past's KV: its sources are computed one after the other, each on the pieces of those
before it, then the past itself is put together. Computing is the scheduler's; this says what is
next, and holds the views until nobody cuts from them any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ponder.runtime.engine.journal import Past, Source
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.spans import Span, add, cut
from ponder.runtime.engine.view import View


class Build:
    """Starts with `seeds`, views that hold the KV of a source's first tokens; it owns them now."""

    def __init__(self, pool: PagePool, past: Past, seeds: Mapping[Source, View]) -> None:
        self._pool = pool
        self.past = past
        self._views = dict(seeds)
        self._left = _order(past, self._views)
        pasts = [past, *(s.past for s in self._left if s not in seeds)]
        self._uses = Counter(piece.source for each in pasts for piece in each.pieces)
        self._seeds = frozenset(seeds)
        self.advance()

    @property
    def source(self) -> Source:
        """What is being computed."""
        return self._left[-1]

    @property
    def view(self) -> View:
        """As much of its KV as there is."""
        return self._views[self.source]

    @view.setter
    def view(self, view: View) -> None:
        self._views[self.source] = view

    @property
    def views(self) -> list[View]:
        return list(self._views.values())

    @property
    def done(self) -> bool:
        return not self._left

    @property
    def from_tokens(self) -> bool:
        """Whether the source is plain, and begun by nobody before."""
        whole = self.source.plain == len(self.source.tokens)
        return whole and self.source not in self._seeds

    def advance(self) -> None:
        """Go on to the next source where this one has all its KV."""
        while self._left:
            source = self.source
            if source not in self._views:
                self._views[source] = self._assemble(source.past)
            if self._views[source].length < len(source.tokens):
                return
            self._left.pop()

    def finish(self) -> View:
        """The past's own view; the build is empty then."""
        view = self._assemble(self.past)
        self.release()
        return view

    def release(self) -> None:
        for view in self._views.values():
            view.release()
        self._views = {}

    def _assemble(self, past: Past) -> View:
        spans: list[Span] = []
        for piece in past.pieces:
            for span in cut(self._views[piece.source].spans, piece.start, piece.stop):
                add(spans, replace(span, shift=span.shift + piece.shift))
        view = View(self._pool, spans)
        for piece in past.pieces:
            self._uses[piece.source] -= 1
            if not self._uses[piece.source]:
                self._views.pop(piece.source).release()
        return view


def _order(past: Past, known: Mapping[Source, View]) -> list[Source]:
    """The sources to compute, the first one last; what is known needs none before it."""
    order: list[Source] = []
    seen: set[Source] = set()
    stack = [(piece.source, False) for piece in reversed(past.pieces)]
    while stack:
        source, ready = stack.pop()
        if ready:
            order.append(source)
        elif source not in seen:
            seen.add(source)
            stack.append((source, True))
            if source not in known:
                stack += [(piece.source, False) for piece in reversed(source.past.pieces)]
    return order[::-1]
