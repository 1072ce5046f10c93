"""Spans of pages, and where their tokens stand when a step reads them.

A span is a run of tokens in memory. A layout puts spans one behind the other into virtual places
that suit the kernels: a token's offset in its page is its place modulo the page, and a block of
places is read at one shift. Holes make up the difference; a plain branch has none. Knows no pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ponder.runtime.runners.api import BLOCK, PAGE, Ints, Slots

HOLE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`length` tokens that start `offset` tokens into the first of `pages` and run on through the
    rest.
    """

    pages: tuple[int, ...]
    offset: int
    length: int
    home: int = 0
    """The position that the first key was rotated for; the others follow."""
    shift: int = 0
    """View position minus home."""

    @property
    def room(self) -> int:
        """Unused places in the last page."""
        return len(self.pages) * PAGE - self.offset - self.length

    @property
    def position(self) -> int:
        """The first token's, in the view."""
        return self.home + self.shift

    @property
    def end(self) -> int:
        """The position behind the last token."""
        return self.home + self.shift + self.length

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
            home=self.home + start,
            shift=self.shift,
        )


def cut(spans: Iterable[Span], start: int, stop: int) -> list[Span]:
    """Tokens `start` to `stop` of a list of spans, neighbours in memory joined."""
    result: list[Span] = []
    position = 0
    for span in spans:
        low, high = max(start - position, 0), min(stop - position, span.length)
        if low < high:
            add(result, span.cut(low, high))
        position += span.length
    return result


def add(spans: list[Span], span: Span) -> None:
    """Append `span`, merged into the last one where it goes on at the very next place."""
    last = spans[-1] if spans else None
    if last is None or last.shift != span.shift or last.home + last.length != span.home:
        spans.append(span)
    elif last.room == 0 and span.offset == 0:
        spans[-1] = replace(last, pages=last.pages + span.pages, length=last.length + span.length)
    elif last.pages[-1] == span.pages[0] and PAGE - last.room == span.offset:
        spans[-1] = replace(
            last, pages=last.pages + span.pages[1:], length=last.length + span.length
        )
    else:
        spans.append(span)


def moved(spans: Iterable[Span], shift: int) -> list[Span]:
    """The same tokens `shift` positions further on."""
    return [replace(span, shift=span.shift + shift) for span in spans]


def end_of(spans: Iterable[Span]) -> int:
    """The position behind all of them."""
    return max((span.end for span in spans), default=0)


class Layout:
    """Spans at their virtual places."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._buffer: Slots = np.empty(4 * PAGE, np.int64)
        self._shifts: list[int] = []
        self.extent = 0
        """Virtual places used, holes among them."""
        self.length = 0
        """Tokens."""
        self.end = 0
        """The position behind all tokens."""
        for span in spans:
            self.place(span)

    @property
    def slots(self) -> Slots:
        """The place of each token, in order; holes where a stretch starts."""
        return self._buffer[: self.extent]

    @property
    def shifts(self) -> Ints | None:
        """One a block; None where all are 0."""
        return np.asarray(self._shifts, np.int64) if any(self._shifts) else None

    @property
    def plain(self) -> bool:
        """Whether each token stands at its position, without holes or shifts."""
        return self.extent == self.length == self.end and not any(self._shifts)

    def start(self, shift: int) -> int:
        """The first place that a run at this shift may take."""
        if not self._shifts or self._shifts[-1] == shift:
            return self.extent
        return len(self._shifts) * BLOCK

    def place(self, span: Span) -> None:
        start = self.start(span.shift)
        start += (span.offset - start) % PAGE
        stop = start + span.length
        self._reserve(stop)
        self._buffer[self.extent : start] = HOLE
        self._buffer[start:stop] = span.slots()
        # Blocks of nothing but holes are of the shift that follows them.
        self._shifts += [span.shift] * (-(-stop // BLOCK) - len(self._shifts))
        self.extent, self.length = stop, self.length + span.length
        self.end = max(self.end, span.end)

    def _reserve(self, places: int) -> None:
        if places > len(self._buffer):
            bigger = np.empty(max(2 * len(self._buffer), places), np.int64)
            bigger[: self.extent] = self.slots
            self._buffer = bigger
