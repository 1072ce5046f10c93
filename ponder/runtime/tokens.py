"""What every engine does with ids of tokens, and with places in a branch: ranges of tokens that
make way for text, and the place where a constrained text begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime.errors import InputError
from ponder.runtime.values import Sampling


def check_ids(ids: Sequence[int], vocabulary: int) -> None:
    """Raises `InputError` for an id that is no token of a model with so many."""
    wrong = next((token for token in ids if not 0 <= token < vocabulary), None)
    if wrong is not None:
        raise InputError(
            f"token {wrong!r} is none of the model's; its ids are 0 to {vocabulary - 1}"
        )


def check_range(start: int, stop: int, total: int, given: int) -> None:
    """Raises `InputError` unless `start` to `stop` can make way for `given` of `total` tokens."""
    if not 0 <= start <= stop <= total:
        raise InputError(f"splice {start!r} to {stop!r}; it takes 0 <= start <= stop <= {total}")
    if start == 0 and stop == total and not given:
        raise InputError(f"splice {start!r} to {stop!r} leaves no token; leave one, or give text")


def moved(border: int, start: int, stop: int, size: int) -> int:
    """Where a border between tokens is, after `start` to `stop` made way for `size` others."""
    if start >= border:
        return border
    return border - (stop - start) + size if stop <= border else start


def constrained_from(params: Sampling, total: int) -> int:
    """Where the text that must fit the grammar begins, of `total` tokens.

    Raises:
        InputError: the branch is not that long.
    """
    start = total if params.grammar_start is None else params.grammar_start
    if start > total:
        raise InputError(f"grammar_start is {start!r}; the branch has {total} tokens")
    return start
