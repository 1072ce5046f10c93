"""Splices and joins as journals: what a branch is after one, what of its KV stays, and what is to
be computed. Pure; the engine's thread carries them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ponder.runtime.engine.journal import Journal, Past, Piece, Source
from ponder.runtime.tokens import moved
from ponder.runtime.values import SpliceMode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seed:
    """A source whose first `length` tokens have their KV in a branch's view, if that has any."""

    source: Source
    length: int
    whose: int = 0
    """0 for the branch that is edited, i for the i-th other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """A journal in place of another."""

    journal: Journal
    given: int
    """Tokens the caller is charged for: text, and what is computed anew because it was asked."""
    reached: int
    """Tokens before this one are accounted for."""
    waits: int = 0
    """Those given that are not computed now: the last one, where the rest is begun anew."""
    kept: int = 0
    """Leading tokens whose KV stays where it is; 0 where the journal's past says what stays."""
    seeds: tuple[Seed, ...] = ()
    """Where the past's sources come from."""


def splice(
    journal: Journal, start: int, stop: int, text: Sequence[int], mode: SpliceMode
) -> Edit | None:
    """Replace tokens `start` to `stop` by `text`; None where that changes nothing."""
    own = moved(journal.own, start, stop, len(text))
    rest = journal.tokens[stop:]
    if start == stop and not text:
        return None
    if mode is SpliceMode.REENCODE:
        return _anew(journal, start, [*text, *rest], own, len(text) + len(rest))
    if len(rest) < 2:
        return _anew(journal, start, [*text, *rest], own, len(text))
    source = journal.freeze(len(journal.tokens) - 1)
    head = Past([Piece(source=source, start=0, stop=start)])
    pieces, seeds = list(head.pieces), [Seed(source=source, length=len(source.tokens))]
    if text:
        longer = Source(head, [*head.tokens, *text])
        pieces = [Piece(source=longer, start=0, stop=len(longer.tokens))]
        seeds.append(Seed(source=longer, length=start))
    gap = Past(pieces).end - int(source.positions[stop])
    shift = gap if mode is SpliceMode.SHIFT else 0
    pieces.append(Piece(source=source, start=stop, stop=len(source.tokens), shift=shift))
    after = _after(pieces, rest[-1], own)
    return Edit(journal=after, given=len(text), reached=len(after.tokens), seeds=tuple(seeds))


def join(journal: Journal, others: Sequence[Journal], mode: SpliceMode) -> Edit | None:
    """Append the others' own tails, in order; None where all are empty."""
    tails = [(i, other) for i, other in enumerate(others, 1) if other.tail]
    if not tails:
        return None
    total = len(journal.tokens)
    if mode is SpliceMode.REENCODE:
        tokens = list(chain.from_iterable(other.tail for _, other in tails))
        return _anew(journal, total, tokens, journal.own, len(tokens))
    base = journal.freeze(total)
    pieces, end = [Piece(source=base, start=0, stop=total)], journal.end
    seeds = [Seed(source=base, length=total)]
    for i, other in tails:
        source = other.freeze(len(other.tokens) - (i == tails[-1][0]))
        stop = len(source.tokens)
        if other.own == stop:
            break
        places = source.positions[other.own :]
        shift = end - int(places[0]) if mode is SpliceMode.SHIFT else 0
        pieces.append(Piece(source=source, start=other.own, stop=stop, shift=shift))
        seeds.append(Seed(source=source, length=stop, whose=i))
        end = max(end, int(places.max()) + shift + 1)
    after = _after(pieces, tails[-1][1].tokens[-1], journal.own)
    return Edit(journal=after, given=0, reached=len(after.tokens), seeds=tuple(seeds))


def _after(pieces: Sequence[Piece], last: int, own: int) -> Journal:
    past = Past(pieces)
    return Journal(past, [*past.tokens, last], own)


def _anew(journal: Journal, start: int, tokens: Sequence[int], own: int, given: int) -> Edit:
    """Keep what is before `start` and compute the rest."""
    kept = start if tokens else start - 1
    whole = [*journal.tokens[:start], *tokens]
    reached = min(kept, len(journal.tokens) - 1)
    return Edit(
        journal=Journal(journal.past.cut(kept), whole, own),
        given=given,
        reached=reached,
        waits=max(0, given - (len(whole) - 1 - reached)),
        kept=kept,
    )
