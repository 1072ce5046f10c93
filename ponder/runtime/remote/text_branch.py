"""What branches do that are kept as text, whoever draws or reads on them: fork, edit, close.

Their past is sent with each call, so forking and rewinding cost nothing here. Journals are counted
in Unicode code points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from ponder.runtime.errors import CapabilityError
from ponder.runtime.gate import Gate
from ponder.runtime.picking import Choose
from ponder.runtime.remote.history import History
from ponder.runtime.standing import Leaving, Origin, Standing
from ponder.runtime.tokens import check_range, moved
from ponder.runtime.values import Logits, Pooling, Segment, SpliceMode, Usage


def no_token_ids(name: str) -> CapabilityError:
    return CapabilityError(
        f"engine {name!r} keeps branches as text and has no token ids; give text or turns"
    )


class Home(Protocol):
    """The engine, as its branches see it."""

    @property
    def name(self) -> str: ...

    def check_open(self) -> None:
        """Raises `ModelError` where it is closed."""
        ...

    def charge(self, usage: Usage) -> None: ...

    def adopt(self, change: int) -> None:
        """Open branches, more or fewer."""
        ...


class TextBranch(Leaving):
    """All of a `Branch` but decoding, scoring and reading."""

    def __init__(
        self,
        home: Home,
        origin: Origin,
        history: History,
        parent: TextBranch | None = None,
        *,
        own: int,
    ) -> None:
        self.path = origin.path
        self.usage = Usage()
        self._origin = origin
        self._home = home
        self._history = history
        self._parent = parent
        self._own = own
        self._gate = Gate(self.path, home.name, home.check_open)
        self.pin, self.unpin = self._gate.pin, self._gate.unpin
        home.adopt(+1)

    @property
    def tokens(self) -> Sequence[int]:
        return tuple(map(ord, self._history.journal))

    @property
    def tail(self) -> Sequence[int]:
        return self.tokens[self._own :]

    @property
    def text(self) -> str:
        return self._history.said

    @property
    def resent(self) -> int:
        return self._history.tokens

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Self]:
        self._gate.check("fork")
        return list(self._children(self._origin.fork(n, first, name)))

    def standing(self) -> Standing:
        said = tuple(map(ord, self._history.said))
        return self._origin.standing(self._history.prompt, said, self._own)

    def _children(self, origins: Sequence[Origin]) -> Sequence[Self]:
        """Forks of this branch, made together."""
        raise NotImplementedError

    async def append(self, text: str) -> None:
        self._gate.check("append to")
        self._say(text)

    async def draw(self, choose: Choose) -> Segment:
        raise self._untold("logits")

    async def logits(self) -> Logits:
        raise self._untold("logits")

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        raise self._untold("logits")

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        raise self._untold("hidden states")

    def rewind(self, to: int) -> None:
        most = self._history.length
        self._gate.check_rewind(to, most)
        self._edit(to, most, "")

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("splice", mode)
        check_range(start, stop, self._history.length, len(text))
        self._edit(start, stop, text)

    async def join(
        self, others: Sequence[TextBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("join others to", mode)
        for other in others:
            other._gate.check("join")
        forks = all(other._parent is self for other in others)
        self._gate.check_kin([other.path for other in others], forks=forks)
        self._say("".join(other._history.journal[other._own :] for other in others))

    def share(self, others: Sequence[TextBranch]) -> None:
        raise self._gate.no_live_views()

    def close(self) -> None:
        if self._gate.close():
            self._home.adopt(-1)

    def _untold(self, what: str) -> CapabilityError:
        self._gate.check_open()
        return CapabilityError(f"{self._home.name!r} tells no {what}; take an engine that does")

    def _say(self, text: str) -> None:
        self._history = self._history.and_then(text)

    def _edit(self, start: int, stop: int, text: str) -> None:
        self._history = self._history.with_text(start, stop, text)
        self._own = moved(self._own, start, stop, len(text))

    def _charge(self, usage: Usage) -> None:
        self.usage += usage
        self._home.charge(usage)
