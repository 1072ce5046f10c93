"""What a branch without KV refuses, whoever draws for it: calls when it is closed, a second call
while one runs, edits that keep KV, live views, strangers' tails.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from ponder.runtime.errors import BranchClosed, CapabilityError, InputError
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import SpliceMode


class Gate:
    """Of one branch."""

    def __init__(self, path: BranchPath, engine: str, check_engine: Callable[[], None]) -> None:
        """`check_engine` raises where `engine` is closed."""
        self.open = True
        self._path = path
        self._engine = engine
        self._check_engine = check_engine
        self._busy = False
        self._pins = 0

    def check_open(self) -> None:
        if not self.open:
            raise BranchClosed(f"branch {self._path} is closed")
        self._check_engine()

    def check(self, action: str) -> None:
        """Raises unless the branch is there and no call runs on it."""
        self.check_open()
        if self._busy:
            raise InputError(
                f"cannot {action} branch {self._path} while another call runs on it; wait for that "
                "call, or fork first"
            )

    @contextmanager
    def call(self, action: str) -> Generator[None]:
        """Around a call that takes time."""
        self.check(action)
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def check_rewind(self, to: int, most: int) -> None:
        self.check("rewind")
        if not 1 <= to <= most:
            raise InputError(f"rewind to {to!r} tokens; it must be 1 to {most}, all it has")

    def check_edit(self, action: str, mode: SpliceMode) -> None:
        self.check(action)
        if mode is not SpliceMode.REENCODE:
            raise CapabilityError(
                f"engine {self._engine!r} has no KV to keep (mode {mode.name}); use mode "
                "REENCODE, or a model's engine"
            )

    def check_kin(self, others: Sequence[BranchPath], *, forks: bool) -> None:
        """Raises unless others are `forks` of this branch, each once."""
        if not forks or len(set(others)) < len(others):
            raise InputError(
                f"cannot join {list(map(str, others))!r} with {self._path}: it takes forks "
                "of this branch, each once"
            )

    def no_live_views(self) -> CapabilityError:
        self.check_open()
        return CapabilityError(
            f"engine {self._engine!r} has no live views; use a model's engine, or append what "
            "others said"
        )

    def pin(self) -> None:
        """Nothing is kept that could be taken away."""
        self.check_open()
        self._pins += 1

    def unpin(self) -> None:
        self.check_open()
        if not self._pins:
            raise InputError(f"branch {self._path} is not pinned; unpin once for each pin")
        self._pins -= 1

    def close(self) -> bool:
        """Whether it was open until now."""
        was, self.open = self.open, False
        return was
