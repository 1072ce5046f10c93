"""Choosing by scores: against enumeration of every subset, every pair, and numbers done by hand."""

from __future__ import annotations

from itertools import combinations
from math import comb, fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals import Choice, auc, best_of, brier, pass_at
from ponder.runtime import InputError


def choice(score: float | None, correct: bool, answered: bool = True) -> Choice:
    return Choice(answered=answered, score=score, correct=correct)


choices = st.builds(
    choice,
    st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)
pools = st.lists(choices, min_size=1, max_size=8)


def chosen(drawn: tuple[Choice, ...]) -> list[Choice]:
    """The rule itself: all that tie for best."""

    def rank(c: Choice) -> tuple[bool, bool, float]:
        return c.answered, c.score is not None, c.score or 0.0

    best = max(map(rank, drawn))
    return [c for c in drawn if rank(c) == best]


@given(pools, st.data())
def test_best_of_k_is_exact(pool: list[Choice], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(pool)))
    draws = [chosen(drawn) for drawn in combinations(pool, k)]
    right = fsum(sum(c.correct for c in best) / len(best) for best in draws) / len(draws)
    scores = [best[0].score for best in draws]
    told = [score for score in scores if score is not None]
    found = best_of(k, pool)
    assert found.accuracy == pytest.approx(right)
    if told:
        assert found.score == pytest.approx(fsum(told) / len(told))
    else:
        assert found.score is None


def test_ranks_are_chosen_as_the_dossier_says() -> None:
    """C(n - j, k - 1) / C(n, k) for rank j of n = 5, k = 3."""
    for j in range(1, 6):
        pool = [choice(1 - place / 10, place + 1 == j) for place in range(5)]
        expected = comb(5 - j, 2) / comb(5, 3)
        assert best_of(3, pool).accuracy == pytest.approx(expected)


@given(pools)
def test_one_is_a_sample_and_all_is_the_best(pool: list[Choice]) -> None:
    assert best_of(1, pool).accuracy == pytest.approx(sum(c.correct for c in pool) / len(pool))
    best = chosen(tuple(pool))
    assert best_of(len(pool), pool).accuracy == pytest.approx(
        sum(c.correct for c in best) / len(best)
    )


@given(pools)
def test_the_chosen_score_never_falls_and_pass_at_k_is_above(pool: list[Choice]) -> None:
    sure = [c for c in pool if c.answered and c.score is not None]
    for k in range(1, len(sure) + 1):
        found = best_of(k, sure)
        assert found.accuracy <= pass_at(k, len(sure), sum(c.correct for c in sure)) + 1e-12
        if k > 1:
            before = best_of(k - 1, sure)
            assert (before.score or 0) <= (found.score or 0) + 1e-12


@pytest.mark.parametrize("k", [0, 3, -1])
def test_best_of_refuses(k: int) -> None:
    with pytest.raises(InputError, match="must be 1 to the 2"):
        best_of(k, [choice(0.5, True)] * 2)


@given(pools)
def test_auc_is_the_share_of_pairs(pool: list[Choice]) -> None:
    right = [c.score for c in pool if c.correct and c.score is not None]
    wrong = [c.score for c in pool if not c.correct and c.score is not None]
    found = auc(pool)
    if right and wrong:
        pairs = [(a > b) + (a == b) / 2 for a in right for b in wrong]
        assert found.value == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert found.value is None
        assert found.reason


def test_auc_says_why_there_is_none() -> None:
    assert auc([]).reason == auc([choice(None, True)]).reason == "no candidate has a score"
    assert auc([choice(0.1, True)] * 3).reason == "all 3 candidates are right"
    assert auc([choice(0.1, False), choice(None, True)]).reason == "all 1 candidates are wrong"


@given(pools)
def test_auc_knows_only_the_order(pool: list[Choice]) -> None:
    """Turned round it is one minus itself; squared scores change nothing."""
    turned = [choice(None if c.score is None else 1 - c.score, c.correct) for c in pool]
    squared = [choice(None if c.score is None else c.score**2, c.correct) for c in pool]
    found = auc(pool).value
    if found is not None:
        assert auc(turned).value == pytest.approx(1 - found)
        assert auc(squared).value == found


def test_brier_by_hand() -> None:
    pool = [choice(0.9, True), choice(0.2, False), choice(None, True), choice(0.5, False)]
    assert brier(pool).value == pytest.approx((0.01 + 0.04 + 0.25) / 3)
    assert brier([choice(None, True)]).reason == "no candidate has a score"
