"""Rules that say when samples agree: closed forms, laws, and what the sources' numbers are."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.runtime import BranchPath
from ponder.strategies.stopping import RULES, Tally, beta, dirichlet, disorder, lead, share
from ponder.verifiers import certainty, entropy

counts_of = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def tally(*counts: int, unanswered: int = 0, most: int = 40) -> Tally:
    return Tally(counts=counts, drawn=sum(counts) + unanswered, most=most)


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        (3, 0, 0.9375),
        (4, 0, 0.96875),
        (5, 1, 0.9375),
        (6, 1, 0.964844),
        (6, 2, 0.910156),
        (8, 2, 0.967285),
        (9, 3, 0.953857),
    ],
)
def test_beta_has_the_known_values(a: int, b: int, value: float) -> None:
    assert beta(tally(a, b) if b else tally(a)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(4, 1), (7, 3), (20, 19)])
def test_beta_is_the_integral(a: int, b: int) -> None:
    """Of x^a (1 - x)^b over its upper half; midpoints, 20,000 of them."""
    points = [(i + 0.5) / 20_000 for i in range(20_000)]
    mass = [x**a * (1 - x) ** b for x in points]
    assert beta(tally(a, b)) == pytest.approx(sum(mass[10_000:]) / sum(mass), abs=1e-7)


@pytest.mark.parametrize("name", ["beta", "dirichlet"])
def test_nothing_is_settled_by_fewer_than_four_samples(name: str) -> None:
    rule = RULES[name]
    for counts in [(1,), (2,), (3,), (1, 1), (2, 1), (1, 1, 1)]:
        assert not rule.settled(rule.measure(tally(*counts)), 0.95)
    assert rule.settled(rule.measure(tally(4)), 0.95)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=5))
def test_one_answer_is_the_mode_for_certain(counts: list[int]) -> None:
    """The chances of each answer to be the mode add up to 1."""
    ahead = [counts[i:] + counts[:i] for i in range(len(counts))]
    assert sum(dirichlet(tally(*first)) for first in ahead) == pytest.approx(1, abs=1e-9)


@given(counts_of)
@settings(deadline=None)
def test_dirichlet_is_modest(counts: list[int]) -> None:
    ranked = sorted(counts, reverse=True)
    value = dirichlet(tally(*ranked))
    assert 0 <= value <= beta(tally(*ranked)) + 1e-9
    assert value == dirichlet(tally(*ranked[:5])), "only the top five count"


def test_dirichlet_of_equals_is_even() -> None:
    for kinds, size in product([3, 4, 5], [1, 2, 8]):
        assert dirichlet(tally(*[size] * kinds)) == pytest.approx(1 / kinds)


@pytest.mark.parametrize("counts", [(5, 3, 2, 1, 1), (4, 1, 1), (2, 2, 1)])
def test_dirichlet_is_what_the_source_integrates_by_monte_carlo(counts: tuple[int, ...]) -> None:
    """Gammas with whole shapes are sums of logarithms; 3,000 draws, 4 standard errors."""
    path, draws, ahead, used = BranchPath(7), 3000, 0, 0
    for _ in range(draws):
        gammas: list[float] = []
        for n in counts:
            gammas.append(-sum(math.log(1 - path.uniform(used + i)) for i in range(n + 1)))
            used += n + 1
        ahead += max(gammas) == gammas[0]
    exact = dirichlet(tally(*counts))
    error = math.sqrt(exact * (1 - exact) / draws)
    assert ahead / draws == pytest.approx(exact, abs=4 * error)


def test_entropy_and_share_follow_the_source() -> None:
    assert disorder(tally(4)) == pytest.approx(0.721928, abs=1e-6)  # H2(4 to an imagined 1)
    assert disorder(tally(3)) == pytest.approx(0.811278, abs=1e-6)
    assert disorder(tally(2, 2)) == pytest.approx(1)
    assert disorder(tally(6, 1, 1)) == pytest.approx(entropy([6, 1, 1]) / math.log(3))
    assert share(tally(4, 1)) == 0.8
    assert share(tally(4, unanswered=4)) == 0.5, "who gave no answer counts"
    assert [rule.settled(rule.measure(tally(1)), rule.threshold) for rule in RULES.values()] == [
        False
    ] * len(RULES), "one sample settles nothing"


@pytest.mark.parametrize("name", RULES)
def test_without_an_answer_nothing_is_settled(name: str) -> None:
    rule, nobody = RULES[name], tally(unanswered=9)
    assert not rule.settled(rule.measure(nobody), rule.threshold)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 6))
def test_a_lead_that_is_settled_cannot_be_lost(drawn: list[str], left: int) -> None:
    """And one that is not can be: by the nearest rival, or by an answer that is new."""
    counts = sorted((drawn.count(answer) for answer in set(drawn)), reverse=True)
    value = lead(tally(*counts, most=len(drawn) + left))
    rival = (*counts, 0)[1]
    assert (value >= 1) == (counts[0] > rival + left)


@pytest.mark.parametrize(
    ("counts", "value"), [((6, 1, 1), 0.646241), ((8,), 1.0), ((1,) * 8, 0.0), ((1,), 0.0), ((), 0)]
)
def test_certaindex_has_the_known_values(counts: tuple[int, ...], value: float) -> None:
    assert certainty(counts) == pytest.approx(value, abs=1e-6)


@given(counts_of)
def test_certainty_is_a_share_and_ignores_order(counts: list[int]) -> None:
    assert 0 <= certainty(counts) <= 1
    assert certainty(counts) == certainty(sorted(counts))
