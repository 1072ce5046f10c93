"""Adaptive rejection: weights are unbiased, tokens allowed, questions few."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import BranchPath
from ponder.strategies.fitting.rejection import Proposal, Urn, adaptive_rejection

MASSES = (0.5, 0.2, 0.15, 0.1, 0.05)
ALLOWED = {1, 3, 4}


def drawn(
    masses: tuple[float, ...], allowed: set[int], seed: int, most: int | None = None
) -> tuple[Proposal, list[int]]:
    """With the tokens that were asked about."""
    asked, dice = list[int](), Random(seed)

    async def may(tokens: Sequence[int]) -> list[bool]:
        asked.extend(tokens)
        return [token in allowed for token in tokens]

    made = adaptive_rejection(masses, may, lambda i: dice.random(), most_checks=most)
    return asyncio.run(made), asked


@pytest.mark.parametrize("total", [1.0, 0.25])
def test_weights_are_unbiased(total: float) -> None:
    """Within five standard errors of the mass of each allowed token, whatever the masses sum to."""
    runs = 6_000
    masses = tuple(total * p for p in MASSES)
    found = {token: [0.0, 0.0] for token in ALLOWED}
    for seed in range(runs):
        proposal, _ = drawn(masses, ALLOWED, seed)
        assert proposal.token in ALLOWED
        weight = math.exp(proposal.log_weight)
        found[proposal.token][0] += weight
        found[proposal.token][1] += weight**2
    for token, (first, second) in found.items():
        error = math.sqrt(second / runs - (first / runs) ** 2) / math.sqrt(runs)
        assert abs(first / runs - masses[token]) < 5 * error


@given(
    masses=st.lists(st.floats(0.001, 1), min_size=1, max_size=8).map(tuple),
    bits=st.integers(0, 255),
    seed=st.integers(0, 10**6),
)
def test_nobody_is_asked_about_twice(masses: tuple[float, ...], bits: int, seed: int) -> None:
    allowed = {i for i in range(len(masses)) if bits >> i & 1}
    proposal, asked = drawn(masses, allowed, seed)
    assert len(asked) == len(set(asked)) == proposal.checks
    if allowed:
        assert proposal.token in allowed
        assert 0 < math.exp(proposal.log_weight) <= math.fsum(masses) + 1e-9
    else:
        assert (proposal.token, proposal.log_weight) == (None, -math.inf)
        assert set(asked) == set(range(len(masses)))


@given(seed=st.integers(0, 10**6))
def test_where_everything_is_allowed_the_weight_is_one(seed: int) -> None:
    proposal, _ = drawn(MASSES, set(range(5)), seed)
    assert proposal.log_weight == pytest.approx(0.0)
    assert proposal.checks <= 2


def test_a_single_allowed_token_is_always_found() -> None:
    weights = list[float]()
    for seed in range(6_000):
        proposal, _ = drawn(MASSES, {3}, seed)
        assert proposal.token == 3
        weights.append(math.exp(proposal.log_weight))
    assert math.fsum(weights) / len(weights) == pytest.approx(MASSES[3], rel=0.05)


def test_impossible_tokens_are_never_asked_about() -> None:
    for seed in range(100):
        proposal, asked = drawn((0.0, 0.7, 0.0, 0.3, 0.0), {0, 2, 3}, seed)
        assert proposal.token == 3
        assert set(asked) <= {1, 3}


def test_questions_end() -> None:
    proposal, asked = drawn(MASSES, {4}, 1, most=1)
    assert proposal.token is None
    assert len(asked) == 1


def test_an_urn_of_many_blocks_is_drawn_by_what_is_left() -> None:
    """After most of the mass, then most of the tokens, are gone: within five standard errors."""
    dice = Random(5)
    masses = [dice.random() ** 9 for _ in range(1000)]
    urn = Urn(masses, lambda _: dice.random())
    gone = set(sorted(range(1000), key=masses.__getitem__)[-700:]) | set(range(256))
    for token in gone:
        urn.remove(token)
    left = {token: mass for token, mass in enumerate(masses) if token not in gone}
    assert urn.mass == pytest.approx(math.fsum(left.values()))
    runs = 40_000
    found = Counter(urn.draw() for _ in range(runs))
    assert set(found) <= set(left)
    for low in range(256, 1000, 100):
        share = math.fsum(left.get(t, 0.0) for t in range(low, low + 100)) / urn.mass
        drawn = sum(found[t] for t in range(low, low + 100)) / runs
        assert abs(drawn - share) < 5 * math.sqrt(share / runs)
    for token in left:
        urn.remove(token)
    assert urn.draw() is None


@given(
    masses=st.lists(st.floats(0.001, 1), min_size=1, max_size=40).map(tuple),
    bits=st.integers(0, 2**40 - 1),
    seed=st.integers(0, 10**6),
    ahead=st.integers(2, 9),
)
def test_asking_ahead_changes_nothing_but_the_questions(
    masses: tuple[float, ...], bits: int, seed: int, ahead: int
) -> None:
    def made(ahead: int) -> tuple[Proposal, list[list[int]]]:
        times = list[list[int]]()

        async def may(tokens: Sequence[int]) -> list[bool]:
            times.append(list(tokens))
            return [bool(bits >> token & 1) for token in tokens]

        draws = BranchPath(seed).uniform
        return asyncio.run(adaptive_rejection(masses, may, draws, ahead=ahead)), times

    (one, single), (found, times) = made(1), made(ahead)
    assert (found.token, found.log_weight) == (one.token, one.log_weight)
    asked = [token for some in times for token in some]
    assert len(asked) == len(set(asked)) == found.checks
    assert {token for some in single for token in some} <= set(asked)
    assert len(times) <= len(single)
    assert all(len(some) <= ahead for some in times)


def test_asking_ahead_stays_within_the_questions() -> None:
    async def may(tokens: Sequence[int]) -> list[bool]:
        return [False] * len(tokens)

    found = adaptive_rejection([1.0] * 50, may, BranchPath(1).uniform, most_checks=7, ahead=3)
    assert asyncio.run(found).checks == 7
