"""Compute-optimal allocation: which strategy does best at a budget on questions of a difficulty,
learnt from runs over development questions, as an expression that routes (Snell et al., arXiv
2408.03314).

Difficulty is told as ease, in [0, 1]: the share of samples that are right, where references are
known (`pass_rates`), or a metric that needs none, such as the mean score of a few samples. At run
time a metric must stand for it: take the borders over the values that the metric itself had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from ponder.evals.records import Record
from ponder.orchestrator import Expression, Metric, route
from ponder.runtime import InputError, unknown

ABSOLUTE = (0.1, 0.5)
"""Borders of hard (0 to 10 % right), medium (10 to 50) and easy (50 to 100) questions (Liu et al.,
arXiv 2502.06703).
"""
LEAST = 20
"""Trials of each strategy that a cell must have, with those at neighbouring budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One strategy on one question at one budget."""

    question: str
    ease: float
    strategy: str
    budget: int
    """In any unit, the same for all: attempts, say, or tokens."""
    correct: bool
    tokens: int
    """What it cost; of equally good strategies the cheaper is chosen."""

    def __post_init__(self) -> None:
        if not 0 <= self.ease <= 1:
            raise InputError(f"ease is {self.ease!r}; it must be in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The best strategy of a cell, by its trials there and at the budgets that were pooled."""

    strategy: str
    accuracy: float
    trials: int
    budgets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """`table[bin][budget]`; bins count up from the hardest."""

    borders: tuple[float, ...]
    cells: Mapping[int, Mapping[int, Cell]]
    missing: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    """Why a cell of (bin, budget) is not there."""

    def cell(self, place: int, budget: int) -> Cell:
        """Raises `InputError` for a cell that is missing; nothing stands in for it."""
        found = self.cells.get(place, {}).get(budget)
        if found is None:
            why = self.missing.get((place, budget), "nothing was tried there")
            raise InputError(
                f"no strategy is known for bin {place!r} at budget {budget!r}: {why}; run more "
                "development questions, or take fewer bins"
            )
        return found


def pass_rates(records: Iterable[Record]) -> dict[str, float]:
    """By question: the share of its candidates that are right; 0 where there are none."""
    return {
        r.id: sum(vote.correct for vote in r.candidates) / max(1, len(r.candidates))
        for r in records
    }


def trials(
    records: Iterable[Record], *, strategy: str, budget: int, ease: Mapping[str, float]
) -> list[Trial]:
    """A run's records as trials.

    Raises:
        InputError: a question's ease is not known.
    """
    kept = list(records)
    for record in kept:
        if record.id not in ease:
            raise InputError(unknown("question with an ease", record.id, ease))
    return [
        Trial(
            question=r.id,
            ease=ease[r.id],
            strategy=strategy,
            budget=budget,
            correct=r.correct,
            tokens=r.usage.tokens,
        )
        for r in kept
    ]


def quantile_borders(values: Sequence[float], bins: int = 5) -> tuple[float, ...]:
    """Borders between bins of equally many of the values; fewer where values tie.

    Raises:
        InputError: there are fewer values than bins, or all are equal.
    """
    if not 2 <= bins <= len(values):
        raise InputError(f"bins is {bins!r}; it must be 2 to the {len(values)} values there are")
    ranked = sorted(values)
    found = {ranked[place * len(ranked) // bins] for place in range(1, bins)} - {ranked[0]}
    if not found:
        raise InputError(f"most values are {ranked[0]!r}, so there are no bins to tell apart")
    return tuple(sorted(found))


def allocate(
    tried: Iterable[Trial], borders: Sequence[float] = ABSOLUTE, *, least: int = LEAST
) -> Allocation:
    """The most accurate strategy of each bin at each budget; of equals the cheaper.

    A cell in which a strategy has fewer than `least` trials borrows those at the nearest budgets,
    one more on either side at a time, for all its strategies alike.

    Raises:
        InputError: the borders do not rise.
    """
    if any(not a < b for a, b in pairwise(borders)):
        raise InputError(f"borders is {borders!r}; each must be above the one before")
    trials_by_bin: dict[int, list[Trial]] = {}
    for trial in tried:
        trials_by_bin.setdefault(bisect_right(borders, trial.ease), []).append(trial)
    budgets = sorted({t.budget for inside in trials_by_bin.values() for t in inside})
    cells: dict[int, dict[int, Cell]] = {}
    missing: dict[tuple[int, int], str] = {}
    for place in range(len(borders) + 1):
        for budget in budgets:
            found = _best(trials_by_bin.get(place, []), budget, budgets, least)
            if isinstance(found, Cell):
                cells.setdefault(place, {})[budget] = found
            else:
                missing[place, budget] = found
    return Allocation(borders=tuple(borders), cells=cells, missing=missing)


def _best(inside: Sequence[Trial], budget: int, budgets: Sequence[int], least: int) -> Cell | str:
    """The choice, or why there is none."""
    names = {t.strategy for t in inside if t.budget == budget}
    if not names:
        return "nothing was tried there"
    most = 0
    for pooled in _widening(budgets, budgets.index(budget)):
        near = [t for t in inside if t.strategy in names and t.budget in pooled]
        by_name = {name: [t for t in near if t.strategy == name] for name in sorted(names)}
        most = min(map(len, by_name.values()))
        if most >= least:
            name = min(by_name, key=lambda name: _order(by_name[name]))
            of_it = by_name[name]
            right = sum(t.correct for t in of_it)
            return Cell(
                strategy=name,
                accuracy=right / len(of_it),
                trials=len(of_it),
                budgets=tuple(pooled),
            )
    return f"a strategy has {most} trials at all budgets together, and {least} are needed"


def _order(of_one: Sequence[Trial]) -> tuple[Fraction, Fraction]:
    """Most accurate first, then cheapest; exact, so that ties are ties."""
    right = Fraction(sum(t.correct for t in of_one), len(of_one))
    return -right, Fraction(sum(t.tokens for t in of_one), len(of_one))


def _widening(budgets: Sequence[int], place: int) -> Iterator[Sequence[int]]:
    """The budget itself, then with its neighbours, and so on."""
    for reach in range(max(place, len(budgets) - 1 - place) + 1):
        yield budgets[max(0, place - reach) : place + reach + 1]


def cross_validated(
    tried: Sequence[Trial], borders: Sequence[float] = ABSOLUTE, *, least: int = LEAST
) -> dict[int, float]:
    """By budget: the accuracy of strategies that were chosen on the other half of the questions, so
    that no question chooses its own.

    Raises:
        InputError: a cell is missing in one half, or what it chose was not tried in the other.
    """
    fold = {q: i % 2 for i, q in enumerate(sorted({t.question for t in tried}))}
    scored: dict[int, list[bool]] = {}
    for half in (0, 1):
        chosen = allocate((t for t in tried if fold[t.question] != half), borders, least=least)
        cells: dict[tuple[int, int], list[Trial]] = {}
        for t in tried:
            if fold[t.question] == half:
                cells.setdefault((bisect_right(borders, t.ease), t.budget), []).append(t)
        for (place, budget), inside in cells.items():
            name = chosen.cell(place, budget).strategy
            results = [t.correct for t in inside if t.strategy == name]
            if not results:
                raise InputError(
                    f"{name!r} was chosen for bin {place!r} at budget {budget!r}, and tried on no "
                    "question of the other half; try every strategy on every question"
                )
            scored.setdefault(budget, []).extend(results)
    return {budget: sum(right) / len(right) for budget, right in sorted(scored.items())}


def compute_optimal(
    table: Allocation, budget: int, strategies: Mapping[str, Expression], *, by: Metric
) -> Expression:
    """Route by the bin that `by` falls into to the strategy that did best there at this budget.

    Args:
        table: what did best.
        budget: one of the table's.
        strategies: by the names in the table; the same for the whole budget.
        by: the metric, of candidates so far, that the table's borders are of.

    Raises:
        InputError: a cell is missing, or its strategy is not among those given.
    """
    names = [table.cell(place, budget).strategy for place in range(len(table.borders) + 1)]
    for name in names:
        if name not in strategies:
            raise InputError(unknown("strategy", name, strategies))
    return route(by, table.borders, [strategies[name] for name in names])
