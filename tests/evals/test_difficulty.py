"""The compute-optimal table by hand: ties, borrowed neighbours, missing cells, folds."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.evals import (
    ABSOLUTE,
    Allocation,
    Record,
    Trial,
    Vote,
    allocate,
    compute_optimal,
    cross_validated,
    pass_rates,
    quantile_borders,
    trials,
)
from ponder.orchestrator import (
    Expression,
    Runtime,
    best,
    check,
    judge,
    mean_score,
    recompute,
    route,
    sample,
    to_yaml,
    vote,
)
from ponder.runtime import InputError, ScriptedEngine, Usage
from ponder.verifiers import ExactEquivalence

EASE = {"hard": 0.05, "medium": 0.3, "easy": 0.5}
ARMS: dict[str, Expression] = {
    "long": sample(4, max_tokens=40) | vote(),
    "vote": vote(),
    "best": best(),
}


def tried(
    bin_: str, strategy: str, budget: int, right: int, of: int, tokens: int = 100
) -> list[Trial]:
    """Questions by number: the first `right` of them are right."""
    return [
        Trial(
            question=f"{bin_} {i:03}",
            ease=EASE[bin_],
            strategy=strategy,
            budget=budget,
            correct=i < right,
            tokens=tokens,
        )
        for i in range(of)
    ]


FULL = [
    *tried("hard", "long", 4, 6, 20), *tried("hard", "vote", 4, 2, 20),
    *tried("medium", "long", 4, 9, 20, tokens=90), *tried("medium", "vote", 4, 9, 20, tokens=80),
    *tried("easy", "vote", 4, 18, 20), *tried("easy", "best", 4, 19, 20),
]  # fmt: skip


def test_each_cell_takes_its_best_and_of_equals_the_cheaper() -> None:
    table = allocate(FULL)
    assert [table.cell(i, 4).strategy for i in range(3)] == ["long", "vote", "best"]
    assert [table.cell(i, 4).accuracy for i in range(3)] == [6 / 20, 9 / 20, 19 / 20]
    assert table == allocate(reversed(FULL))


def test_a_border_belongs_to_the_bin_above() -> None:
    """50 % is easy, 10 % is medium."""
    assert ABSOLUTE == (0.1, 0.5)
    table = allocate(tried("easy", "vote", 1, 1, 20))
    assert set(table.cells) == {2}


def test_small_cells_borrow_from_neighbouring_budgets() -> None:
    """At 4 "long" looks better by 5 trials; with its neighbours "vote" does. 32 is too far away."""
    few = [*tried("hard", "long", 4, 2, 5), *tried("hard", "vote", 4, 1, 5)]
    near = [
        *tried("hard", "long", 2, 0, 10), *tried("hard", "vote", 2, 5, 10),
        *tried("hard", "long", 8, 1, 10), *tried("hard", "vote", 8, 5, 10),
    ]  # fmt: skip
    far = [*tried("hard", "long", 32, 30, 30), *tried("hard", "vote", 32, 0, 30)]
    table = allocate([*few, *near, *far])
    assert table.cell(0, 4).strategy == "vote"
    assert table.cell(0, 4).budgets == (2, 4, 8)
    assert table.cell(0, 4).trials == 25
    assert table.cell(0, 32).budgets == (32,)
    assert allocate([*few, *near, *far], least=5).cell(0, 4).strategy == "long"


def test_missing_cells_are_errors_that_say_why() -> None:
    table = allocate([*tried("hard", "vote", 4, 1, 7), *tried("easy", "vote", 8, 20, 20)])
    with pytest.raises(InputError, match=r"bin 0 at budget 4: a strategy has 7 trials .* 20 are"):
        table.cell(0, 4)
    with pytest.raises(InputError, match="bin 1 at budget 8: nothing was tried there"):
        table.cell(1, 8)
    with pytest.raises(InputError, match="bin 2 at budget 5"):
        table.cell(2, 5)
    with pytest.raises(InputError, match="bin 0 at budget 8"):
        compute_optimal(table, 8, ARMS, by=mean_score())


def test_the_expression_routes_by_the_bins() -> None:
    made = compute_optimal(allocate(FULL), 4, ARMS, by=mean_score())
    assert made == route(mean_score(), ABSOLUTE, (ARMS["long"], ARMS["vote"], ARMS["best"]))
    whole = sample(3, max_tokens=40) | judge("likelihood") | made
    check(whole)
    assert "mean_score < 0.1" in to_yaml(whole)
    with pytest.raises(InputError, match="unknown strategy 'long'"):
        compute_optimal(allocate(FULL), 4, {"vote": vote(), "best": best()}, by=mean_score())


def test_no_question_chooses_for_itself() -> None:
    """Of the even ones "long" is right, of the odd ones "vote": each half chooses what fails on the
    other.
    """
    both = [
        Trial(
            question=f"{i:03}",
            ease=0.0,
            strategy=name,
            budget=1,
            correct=(i % 2 == 0) == (name == "long"),
            tokens=1,
        )
        for i in range(40)
        for name in ("long", "vote")
    ]
    assert cross_validated(both) == {1: 0.0}
    assert cross_validated(FULL, least=10)[4] == pytest.approx((6 + 9 + 19) / 60, abs=0.05)


def test_folds_without_evidence_are_refused() -> None:
    with pytest.raises(InputError, match="10 trials"):
        cross_validated(tried("hard", "vote", 1, 1, 20))
    alone = [t for t in tried("hard", "long", 1, 20, 40) if int(t.question[-3:]) % 2]
    with pytest.raises(InputError, match=r"'long' was chosen .* tried on no question"):
        cross_validated([*tried("hard", "vote", 1, 0, 40), *alone])


def test_quantiles_part_the_values_evenly() -> None:
    values = [i / 10 for i in range(10)]
    assert quantile_borders(values) == (0.2, 0.4, 0.6, 0.8)
    assert quantile_borders([0.0] * 6 + [0.5, 1.0, 1.0, 1.0], 4) == (1.0,)
    for bad, bins in (([0.3] * 9, 3), ([0.1], 5), (values, 1)):
        with pytest.raises(InputError):
            quantile_borders(bad, bins)


def record(id_: str, votes: str) -> Record:
    voted = tuple(Vote(answer=v, group=0, correct=v == "r") for v in votes)
    settings: dict[str, Any] = {"reference": "r", "answer": "r", "outcome": "complete"}
    return Record(
        id=id_,
        correct=True,
        reason="",
        confidence=None,
        candidates=voted,
        usage=Usage(decoded=7),
        seed=0,
        seconds=0.0,
        session=0,
        finished=0.0,
        **settings,
    )


def test_runs_become_trials() -> None:
    records = [record("a", "rrww"), record("b", ""), record("c", "r")]
    ease = pass_rates(records)
    assert ease == {"a": 0.5, "b": 0.0, "c": 1.0}
    (first, *_) = trials(records, strategy="vote", budget=4, ease=ease)
    assert first == Trial(question="a", ease=0.5, strategy="vote", budget=4, correct=True, tokens=7)
    with pytest.raises(InputError, match="unknown question with an ease 'd'"):
        trials([record("d", "r")], strategy="vote", budget=4, ease=ease)


def test_what_was_learnt_runs() -> None:
    import asyncio

    strategy = sample(3, max_tokens=40) | judge("likelihood")
    whole = strategy | compute_optimal(allocate(FULL), 4, ARMS, by=mean_score())
    runtime = Runtime(ScriptedEngine(), equivalence=ExactEquivalence())
    result = asyncio.run(runtime.solve("2 and 3?", whole, seed=1))
    assert result.answer in {"5", "-1", "6"}
    assert recompute(result.trace.events) == result.numbers


def test_bad_input_is_refused() -> None:
    for ease in (float("nan"), -0.1, 1.1):
        with pytest.raises(InputError, match="ease is"):
            Trial(question="a", ease=ease, strategy="vote", budget=1, correct=True, tokens=1)
    with pytest.raises(InputError, match=r"borders is \(0.5, 0.1\)"):
        allocate(FULL, (0.5, 0.1))


def test_an_empty_table_is_a_table_without_cells() -> None:
    assert allocate([]) == Allocation(borders=ABSOLUTE, cells={}, missing={})
