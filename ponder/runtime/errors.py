"""The errors Ponder raises on purpose: one small family, so that a caller can tell its own fault
from a model's.

An `InputError` is the user's to mend (the command line exits with 2); a `ModelError` is the
engine's; a `BudgetExceeded` is neither: a strategy catches it and answers with the best it has.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PonderError(Exception):
    """The root of every error Ponder raises on purpose."""


class InputError(PonderError, ValueError):
    """Something the user gave cannot be used: says what, its value, what is allowed, what to do."""


class CapabilityError(InputError):
    """A strategy asks of an engine what that engine cannot do."""


class ContextOverflow(InputError):
    """A prompt, or a prompt and its continuation, does not fit the model's context."""


class NotRecorded(CapabilityError):
    """A replay was asked for what is not on record."""


class ModelError(PonderError):
    """An engine failed; `retryable` says whether the same call may succeed when made again."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class PoolExhausted(ModelError):
    """One branch alone needs more KV pages than the pool has."""


class BranchClosed(PonderError):
    """A branch was used after `close()`."""


class BudgetExceeded(PonderError):
    """Nothing of the budget is left for this call; what was committed before stays."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The text for a name that does not exist, with the nearest that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} known: {', '.join(names) or 'none'}"
