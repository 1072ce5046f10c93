"""Lanes: branches as the engine's thread sees them. The journal is the truth; the view covers a
beginning of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ponder.runtime.engine.build import Build
from ponder.runtime.engine.jobs import Job
from ponder.runtime.engine.journal import Journal
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.spans import Layout, cut, end_of, moved
from ponder.runtime.engine.view import View
from ponder.runtime.runners.api import Work


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Live:
    """Others' growing tails, as part of a view."""

    peers: Sequence[Lane]
    """In the order in which their tails stand."""
    start: int
    """Tokens from this one on see them."""
    border: int
    """Where they stand: before this token. It is the last one before the branch's own tail, which
    has no KV when a branch is forked.
    """

    def missing(self) -> list[Lane]:
        """Peers that must be computed first."""
        return [
            peer
            for peer in self.peers
            if peer.view.length < min(peer.promised, len(peer.tokens) - 1)
        ]


@dataclass(slots=True, kw_only=True, eq=False)
class Lane:
    ident: int
    journal: Journal
    view: View
    """Of the journal's first tokens: none, or its past's at least."""
    priority: int
    arrival: int
    salt: str = ""
    """KV is shared only among lanes of one salt: an adapter's is nobody else's."""
    job: Job | None = None
    build: Build | None = None
    """On the way to the past's KV."""
    live: Live | None = None
    pins: int = 0
    """Reasons never to take its KV."""
    watchers: int = 0
    """Lanes that see its tail; closed, it goes when there are none."""
    promised: int = 0
    """Tokens whose KV those wait for: all that were computed, lost or not."""
    closed: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.priority, self.arrival)

    @property
    def tokens(self) -> list[int]:
        return self.journal.tokens

    @property
    def tip(self) -> View:
        """What grows next."""
        return self.build.view if self.build else self.view

    @property
    def views(self) -> list[View]:
        """Whatever it holds."""
        return [self.view, *(self.build.views if self.build else ())]

    @property
    def line(self) -> Sequence[int]:
        """The tokens of the tip."""
        return self.build.source.tokens if self.build else self.journal.tokens

    @property
    def plain(self) -> int:
        """Leading tokens of the tip whose KV depends on the tokens alone."""
        if self.build:
            return self.build.source.plain
        plain = self.journal.plain
        return min(plain, self.live.start) if self.live else plain

    @property
    def held(self) -> bool:
        """Whether it holds pages."""
        return self.view.length > 0 or self.build is not None

    @property
    def over(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self.job is None or self.job.over

    @property
    def takable(self) -> bool:
        """Whether its KV may be taken and computed again."""
        return self.held and not self.pins and not self.watchers

    def todo(self) -> int:
        """Tokens to compute at the tip before its job can go on."""
        if self.job is None:
            return 0
        if self.build:
            return len(self.build.source.tokens) - self.build.view.length
        goal = self.job.target(len(self.tokens))
        if self.live and self.view.length < self.live.start:
            goal = min(goal, self.live.start)
        return goal - self.view.length

    def goes_on(self) -> bool:
        """Whether one token is missing to what is there, as in every step of a decode."""
        return self.tip.length > 0 and self.todo() == 1

    def prepare(self, pool: PagePool) -> None:
        """See to it that the tip is what must be computed next."""
        if self.build is None and self.journal.past.pieces and not self.view.length:
            self.build = Build(pool, self.journal.past, {})
        if self.build:
            self.build.advance()
            if self.build.done:
                self.view, self.build = self.build.finish(), None

    def truncate(self, length: int) -> None:
        past = self.journal.past
        self.journal.truncate(length)
        if self.build and self.journal.past is not past:
            self.build.release()
            self.build = None
        if self.live:
            start, border = (min(n, length - 1) for n in (self.live.start, self.live.border))
            self.live = replace(self.live, start=start, border=border)

    def settle(self) -> None:
        """The last token's KV is computed when its logits are needed, never kept from before."""
        self.view.truncate(max(0, len(self.tokens) - 1))

    def waits(self) -> list[Lane]:
        """Peers that must be computed before it goes on."""
        if self.live is None or self.build or self.view.length < self.live.start:
            return []
        return self.live.missing()

    def watch(self, peers: Sequence[Lane], border: int) -> list[Lane]:
        """See the tails of `peers`, from the next token to be computed on; returns the closed ones
        of those it saw before that nobody sees any more.
        """
        for peer in peers:
            peer.watchers += 1
            peer.promised = len(peer.tokens) - 1
        start = min(len(self.tokens) - 1, self.live.start if self.live else len(self.tokens))
        gone = self.leave()
        self.live = Live(peers=tuple(peers), start=start, border=border)
        return gone

    def leave(self) -> list[Lane]:
        """See nobody any more; returns the closed ones that nobody sees then."""
        peers = self.live.peers if self.live else ()
        for peer in peers:
            peer.watchers -= 1
        return [peer for peer in peers if peer.closed and not peer.watchers]

    def forget(self) -> None:
        """Let go of all KV."""
        self.view.release()
        if self.build:
            self.build.release()
            self.build = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A lane's part of a step: the newest `rows` tokens of its tip, whose KV is to be computed."""

    lane: Lane
    rows: int

    @property
    def wanted(self) -> range:
        """Positions whose logits are needed."""
        lane, stop = self.lane, self.lane.view.length
        if lane.job is None or lane.build:
            return range(0)
        first = max(stop - self.rows, lane.job.wanted(len(lane.tokens)))
        return range(min(first, stop), stop)

    @property
    def end(self) -> int:
        """The position behind the rows, others' tails in a live view counted."""
        lane = self.lane
        shift = _with_peers(lane.view, lane.live)[1] if lane.live and self._live else 0
        return lane.tip.layout.end + shift

    @property
    def _live(self) -> bool:
        lane = self.lane
        return lane.live is not None and not lane.build and lane.view.length > lane.live.start

    def work(self) -> Work:
        """To be asked for when all lanes of the step have grown: a live view shows what its peers
        compute in the same step.
        """
        lane, view = self.lane, self.lane.tip
        layout, shift = view.layout, 0
        if lane.live and self._live:
            layout, shift = _with_peers(view, lane.live)
        tokens = lane.line[view.length - self.rows : view.length]
        if layout.plain and not shift:
            return Work(tokens=tokens, slots=layout.slots, wanted=len(self.wanted))
        homes = np.arange(view.layout.end - self.rows, view.layout.end)
        return Work(
            tokens=tokens,
            slots=layout.slots,
            wanted=len(self.wanted),
            positions=homes + shift,
            homes=homes if shift else None,
            shifts=layout.shifts,
        )


def _with_peers(view: View, live: Live) -> tuple[Layout, int]:
    """The view with the peers' tails in it, and how far what is behind them moves."""
    spans = cut(view.spans, 0, live.border)
    for peer in live.peers:
        tail = cut(peer.view.spans, peer.journal.own, peer.view.length)
        spans += moved(tail, end_of(spans) - tail[0].position) if tail else []
    own = cut(view.spans, live.border, view.length)
    shift = end_of(spans) - own[0].position
    return Layout([*spans, *moved(own, shift)]), shift
