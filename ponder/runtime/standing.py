"""Where a branch stands, as a value, and what every branch does to keep track of it: so that it can
be opened again from tokens alone, in another process or on another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from ponder.runtime.errors import ContextOverflow, InputError
from ponder.runtime.seeds import BranchPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """With its prompt, all that decides what a branch says next."""

    path: BranchPath
    tokens: tuple[int, ...] = ()
    """Beyond the prompt, in the units of `Branch.tokens`."""
    own: int = 0
    """Tokens it was forked with, the prompt's among them; 0 where it was opened."""
    forks: int = 0
    """How often it was forked without a name, which names the next such fork."""
    ends: tuple[int, ...] = ()
    """Where what was appended at once ends, in `tokens`, on engines to which that is a step."""

    def __post_init__(self) -> None:
        for name in ("own", "forks"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be at least 0")

    def check(self, prompt: int, *, vocabulary: int, context: int | None = None) -> None:
        """Whether an engine can hold these tokens behind `prompt` others.

        Raises:
            InputError: a token is none of its vocabulary.
            ContextOverflow: they are too many.
        """
        for token in self.tokens:
            if not 0 <= token < vocabulary:
                raise InputError(
                    f"token {token!r} of branch {self.path} is none of this model's {vocabulary}; "
                    "open it again on the model that it was drawn from"
                )
        if context is not None and prompt + len(self.tokens) > context:
            raise ContextOverflow(
                f"branch {self.path} stands at {prompt + len(self.tokens)} tokens, more than the "
                f"{context} that this engine holds; open it on one that holds them"
            )


class Origin:
    """A branch's path, what its forks are called, and the prompt it was opened with."""

    __slots__ = ("_forks", "_prompt", "path")

    def __init__(self, path: BranchPath, prompt: object, forks: int = 0) -> None:
        """`prompt` in any form that tells an edited one from what was given."""
        self.path = path
        self._prompt = prompt
        self._forks = forks

    def fork(self, n: int, first: int, name: str | None) -> list[Origin]:
        """Of `n` children, numbered from `first`."""
        if n < 1:
            raise InputError(f"fork into {n!r} branches; it must be at least 1")
        if name is None:
            parent = self.path.child(self._forks)
            self._forks += 1
        else:
            parent = self.path.child(name)
        return [Origin(parent.child(i), self._prompt) for i in range(first, first + n)]

    def standing(self, prompt: object, tokens: Sequence[int], own: int) -> Standing:
        """Raises `InputError` where `prompt` is not what it was."""
        if prompt != self._prompt:
            raise InputError(
                f"the prompt of branch {self.path} was edited, so it stands nowhere behind it; "
                "open a branch with the prompt as it is now"
            )
        return Standing(path=self.path, tokens=tuple(tokens), own=own, forks=self._forks)


class Leaving(Protocol):
    """Closes when an `async with` is left."""

    def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
