"""The endless stream of word problems of one seed and difficulty.

Problem `index` is a pure function of (seed, difficulty, index). The stream leaves out a problem
whose text came before, so its examples are distinct; the ids keep the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ponder.evals.wordproblems.counting import comparing, fractions, keeping, picking, sharing
from ponder.evals.wordproblems.draw import Draw
from ponder.evals.wordproblems.measures import ages, rates, rectangles, units
from ponder.evals.wordproblems.money import discount, saving, shopping
from ponder.evals.wordproblems.story import Problem
from ponder.runtime import BranchPath, InputError

FAMILIES: dict[str, Callable[[Draw, int, int], Problem]] = {
    family.__name__: family
    for family in (
        ages,
        comparing,
        discount,
        fractions,
        keeping,
        picking,
        rates,
        rectangles,
        saving,
        sharing,
        shopping,
        units,
    )
}

REACH = {1: 10, 2: 12, 3: 15, 4: 20, 5: 30, 6: 50}
"""About the largest fresh number, by difficulty."""

PATIENCE = 10_000
"""So many repeats in a row mean that a stream has run dry."""


def problem(seed: int, difficulty: int, index: int) -> Problem:
    """The word problem at `index`; it takes `difficulty` steps, 1 to 6."""
    if difficulty not in REACH:
        raise InputError(f"difficulty is {difficulty!r}; it must be 1 to {max(REACH)} (steps)")
    draw = Draw(BranchPath(seed, ("wordproblems", difficulty, index)))
    family = draw.choice(list(FAMILIES.values()))
    return family(draw, difficulty, REACH[difficulty])


def problems(seed: int, difficulty: int) -> Iterator[tuple[int, Problem]]:
    """(index, problem) for ever, each text once."""
    seen: set[str] = set()
    index = repeats = 0
    while repeats < PATIENCE:
        made = problem(seed, difficulty, index)
        repeats = repeats + 1 if made.text in seen else 0
        if not repeats:
            seen.add(made.text)
            yield index, made
        index += 1
    raise InputError(
        f"there are about {len(seen)} different word problems of difficulty {difficulty}; "
        "ask for fewer, or for a higher difficulty"
    )
