"""AB-MCTS-M's model against the density of all rewards at once, and its search's bookkeeping."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from statistics import fmean, pvariance, stdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Place, World, searched

from ponder.strategies import AbMctsM
from ponder.strategies.search.abmcts import Scores
from ponder.strategies.search.abmcts_mixed import Branching
from ponder.strategies.search.largest import uniform
from ponder.strategies.search.mixed import GRID, MEAN, SPREAD, Alike
from ponder.strategies.search.tree import Grown

REWARDS = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), max_size=5)


def observed(rewards: list[float]) -> Scores:
    seen = Scores()
    for reward in rewards:
        seen.add(reward)
    return seen


def alike(children: list[list[float]]) -> Alike:
    found = Alike()
    for rewards in children:
        found.add(observed(rewards))
    return found


def joint(children: list[list[float]], a: float, s: float) -> tuple[float, float, float]:
    """Log density of all rewards, up to a constant; mean and variance of mu: by matrices."""
    y = torch.tensor([r for rewards in children for r in rewards], dtype=torch.float64)
    who = torch.tensor([j for j, rewards in enumerate(children) for _ in rewards])
    same = (who[:, None] == who[None, :]).double()
    covariance = a * a * same + s * s * torch.eye(len(y), dtype=torch.float64) + SPREAD**2
    precision, off = torch.inverse(covariance), y - MEAN
    pull = SPREAD**2 * precision.sum(0)
    log = -(off @ precision @ off + torch.logdet(covariance)).item() / 2
    return log, MEAN + (pull @ off).item(), SPREAD**2 * (1 - pull.sum().item())


@settings(deadline=None, max_examples=50)
@given(children=REWARDS.filter(bool))
def test_the_posterior_is_that_of_the_joint_density(children: list[list[float]]) -> None:
    cells = alike(children).cells()
    exact = [joint(children, a, s) for a, s in GRID]
    top = max(log for log, _, _ in exact)
    weights = [math.exp(log - top) for log, _, _ in exact]
    for i, (_, wanted, variance) in enumerate(exact):
        weight = cells.summed[i] - (cells.summed[i - 1] if i else 0.0)
        assert weight / cells.summed[-1] == pytest.approx(
            weights[i] / math.fsum(weights), rel=1e-6, abs=1e-12
        )
        mean, precision = cells.mu(i)
        assert mean == pytest.approx(wanted, abs=1e-8)
        assert 1 / precision == pytest.approx(variance, rel=1e-8)


@given(children=REWARDS.filter(bool), more=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_sums_forget_what_is_taken_away(children: list[list[float]], more: list[float]) -> None:
    kept, changed = alike(children), alike([more, *children[::-1]])
    changed.remove(observed(more))
    assert sums(kept) == sums(changed)


def sums(known: Alike) -> tuple[int, int, int]:
    return known.precision, known.pull, known.misfit


def test_without_observations_the_prior_is_drawn_from() -> None:
    """y of a new child: mean 0.5, variance 0.2^2 + E a^2 + E s^2, the last two of the grid."""
    dice = Random(3)
    found = [Alike().drawn(dice).reward(None, uniform(dice)) for _ in range(20_000)]
    wanted = SPREAD**2 + math.fsum(a * a + s * s for a, s in GRID) / len(GRID)
    assert fmean(found) == pytest.approx(MEAN, abs=0.01)
    assert pvariance(found) == pytest.approx(wanted, rel=0.05)


def test_a_childs_reward_is_drawn_from_what_is_left_to_know() -> None:
    """Two children, one good and one bad, seen often: each promises its own mean, a new one what
    lies between, and less surely.
    """
    children = [[0.88, 0.9, 0.92] * 10, [0.08, 0.1, 0.12] * 10]
    groups, dice = alike(children), Random(5)
    good, bad, new = list[float](), list[float](), list[float]()
    for _ in range(5_000):
        shared = groups.drawn(dice)
        good.append(shared.reward(observed(children[0]), uniform(dice)))
        bad.append(shared.reward(observed(children[1]), uniform(dice)))
        new.append(shared.reward(None, uniform(dice)))
    assert fmean(good) == pytest.approx(0.9, abs=0.01)
    assert fmean(bad) == pytest.approx(0.1, abs=0.01)
    assert fmean(new) == pytest.approx(0.5, abs=0.05)
    assert stdev(new) > 3 * stdev(good)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_records_are_those_of_the_tree(seed: int) -> None:
    method = AbMctsM(verifier="process_reward", most_steps=80)
    state = searched(method, World(seed=seed).step)
    for node in state.tree.nodes[1:]:
        below = [n for n in state.tree.nodes if n.place[: node.depth] == node.place]
        values = [n.value or 0.0 for n in below]
        assert state.seen[node.number].n == len(values)
        assert state.seen[node.number].mean == pytest.approx(math.fsum(values) / len(values))
        counted = {round(100 * v): 0 for v in values}
        for value in values:
            counted[round(100 * value)] += 1
        assert state.rounded[node.number] == counted
    for number, known in state.alike.items():
        _held(state, number, known)


def _held(state: Branching, number: int, known: Alike) -> None:
    """What a node knows of its children is what they are."""
    fresh = Alike()
    for child in state.tree[number].children:
        fresh.add(state.seen[child])
    assert sums(known) == sums(fresh)


def test_what_always_scores_the_same_is_left_alone() -> None:
    """A subtree of four equal scores tells nothing new: the search goes wider instead."""
    method = AbMctsM(verifier="process_reward", most_steps=100)
    world = World(seed=1, depth=50, ends=0.0)

    def dull(place: Place) -> Grown:
        return replace(world.step(place), score=0.5)

    state = searched(method, dull)
    sizes = [state.seen[child].n for child in state.tree[0].children]
    assert max(sizes) <= 4 + method.parallel
