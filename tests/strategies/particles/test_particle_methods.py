"""Particle methods against the exact target of a toy reasoner."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Place, Toy, measure, paths, product, run, score

from ponder.runtime import InputError
from ponder.strategies import ParallelTempering, ParticleFilter, ParticleGibbs
from ponder.strategies.particles.filtering import exchange
from ponder.strategies.particles.populations import Particles, Populations
from ponder.strategies.particles.resampling import SCHEMES
from ponder.strategies.search.tree import End, Grown

TARGETS: dict[str, Callable[[str], float]] = {"product": product, "newest": score}
SEEDS = st.integers(0, 10**6)


def filtering(**settings: Any) -> ParticleFilter:
    return ParticleFilter(verifier="process_reward", **settings)


def posterior(state: Populations) -> dict[str, float]:
    """Shares of what was said."""
    found = defaultdict[str, float](float)
    total = math.fsum(state.weights.values())
    for number, weight in state.weights.items():
        found[state.tree.text(number)] += weight / total
    return found


def apart(one: dict[str, float], two: dict[str, float]) -> float:
    """Total variation."""
    return sum(abs(one.get(x, 0.0) - two.get(x, 0.0)) for x in {*one, *two}) / 2


def exact(weight: Callable[[str], float]) -> dict[str, float]:
    target = measure(weight)
    mass = math.fsum(target.values())
    return {said: x / mass for said, x in target.items()}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_evidence_times_shares_is_the_target_in_expectation(
    scheme: str, threshold: float, target: str
) -> None:
    """For every path, and so for every function of paths: within four standard errors."""
    method = filtering(particles=4, resampling=scheme, threshold=threshold, target=target)
    wanted, runs = measure(TARGETS[target]), 1000
    total = {said: [0.0, 0.0] for said in wanted}
    for seed in range(runs):
        state = run(method, seed)
        (evidence,) = state.evidence
        for said, share in posterior(state).items():
            total[said][0] += math.exp(evidence) * share
            total[said][1] += (math.exp(evidence) * share) ** 2
    for said, (first, second) in total.items():
        mean = first / runs
        error = math.sqrt(max(second / runs - mean**2, mean / runs) / runs)
        assert abs(mean - wanted[said]) < 4 * error + 1e-9, said


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threshold", [0.7, 1.0])
@pytest.mark.parametrize("method", [ParticleGibbs, ParallelTempering])
def test_retained_paths_bring_out_the_target(
    method: type[ParticleGibbs], threshold: float, target: str
) -> None:
    """With two particles a filter alone is far off; around retained paths it comes as near as is
    wished.
    """
    wanted, runs = exact(TARGETS[target]), 8
    alone, around = Counter[str](), Counter[str]()
    for seed in range(runs):
        settings = {"particles": 2, "threshold": threshold, "target": target}
        gibbs = method(verifier="process_reward", iterations=600, **settings)  # type: ignore[arg-type]
        around.update(posterior(run(gibbs, seed)))
        for i in range(100):
            alone.update(posterior(run(filtering(**settings), 1000 * seed + i)))
    near = apart({x: n / runs for x, n in around.items()}, wanted)
    far = apart({x: n / runs / 100 for x, n in alone.items()}, wanted)
    assert near < 0.06
    assert near < 0.75 * far


def test_more_particles_come_nearer() -> None:
    wanted = exact(product)
    off = list[float]()
    for particles, runs in ((2, 800), (8, 400), (64, 50)):
        found = Counter[str]()
        for seed in range(runs):
            found.update(posterior(run(filtering(particles=particles), seed)))
        off.append(apart({x: n / runs for x, n in found.items()}, wanted))
    assert off[0] > 2 * off[1] > 0
    assert off[2] < 0.03


@given(seed=SEEDS)
def test_one_particle_is_a_plain_sample(seed: int) -> None:
    state = run(filtering(particles=1), seed)
    (leaf,) = filtering(particles=1).leaves(state)
    assert state.tree.text(leaf.number) == Toy(seed=seed).said(leaf.place)
    assert set(leaf.place) == {0}
    assert state.evidence[0] == pytest.approx(math.log(product(state.tree.text(leaf.number))))


@given(seed=SEEDS)
def test_without_resampling_paths_are_independent_and_weigh_their_scores(seed: int) -> None:
    """Weighted best-of-N: every particle goes its own way, none is copied."""
    method = filtering(particles=6, threshold=0.0)
    state = run(method, seed)
    leaves = method.leaves(state)
    assert len(leaves) == 6
    assert {leaf.place[0] for leaf in leaves} == set(range(6))
    said = [state.tree.text(leaf.number) for leaf in leaves]
    total = math.fsum(map(product, said))
    for leaf, text in zip(leaves, said, strict=True):
        assert method.weight(state, leaf) == pytest.approx(6 * product(text) / total)


@given(seed=SEEDS)
@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual"])
def test_equal_scores_copy_nobody(scheme: str, seed: int) -> None:
    """Then the particles are plain samples."""
    method = filtering(particles=5, threshold=1.0, resampling=scheme)

    def equal(place: Place) -> Grown:
        return replace(Toy(seed=seed).step(place), score=0.5 if len(place) == 1 else 1.0)

    state = run(method, seed, equal)
    assert {leaf.place[0] for leaf in method.leaves(state)} == set(range(5))
    assert all(method.weight(state, leaf) == pytest.approx(1.0) for leaf in method.leaves(state))


@given(seed=SEEDS)
@pytest.mark.parametrize(
    "method",
    [
        filtering(particles=5, threshold=1.0),
        ParticleGibbs(verifier="process_reward", particles=4, iterations=3),
        ParallelTempering(verifier="process_reward", particles=3, iterations=3, pool="last"),
    ],
    ids=["filter", "gibbs", "tempering"],
)
def test_weights_sum_to_the_particles_and_nothing_is_left_open(
    method: Particles, seed: int
) -> None:
    state = run(method, seed)
    assert math.fsum(state.weights.values()) == pytest.approx(method.particles)
    assert not list(state.tree.open())
    assert len(state.evidence) == method.rounds * len(method.temperatures)
    drawn = len(state.tree.nodes) - 1
    assert drawn <= method.steps


@settings(deadline=None)
@given(seed=SEEDS)
def test_finished_paths_cost_nothing(seed: int) -> None:
    """No path is drawn beyond its end, and a level draws for the unfinished alone."""
    state = run(filtering(particles=6, threshold=1.0), seed)
    for node in state.tree.nodes[1:]:
        parent = state.tree[node.parent or 0]
        assert parent.end is not End.GOAL
    for depth in (1, 2, 3):
        assert sum(node.depth == depth for node in state.tree.nodes) <= 6


def test_competing_finished_paths_are_another_target() -> None:
    """The source's code lets a finished path's last score count at each step of the others."""
    wanted = exact(product)
    found = Counter[str]()
    for seed in range(400):
        method = filtering(particles=32, threshold=1.0, finished="compete")
        found.update(posterior(run(method, seed)))
    assert apart({x: n / 400 for x, n in found.items()}, wanted) > 0.05


def test_a_population_that_dies_says_so() -> None:
    method = filtering(particles=4)

    def worthless(place: Place) -> Grown:
        return replace(Toy(seed=3).step(place), score=0.0)

    state = run(method, 3, worthless)
    assert method.report(state)["log_evidence"] == [None]
    assert not state.weights
    assert method.leaves(state)  # what there is, all the same
    assert len(state.tree.nodes) == 5  # the dead do not grow


def test_a_population_that_died_retains_nothing_and_the_next_begins_anew() -> None:
    method = ParticleGibbs(verifier="process_reward", particles=2, iterations=2)
    toy = Toy(seed=4)

    def late(place: Place) -> Grown:
        """The first two paths are worthless."""
        step = toy.step(place)
        return replace(step, score=0.0) if place[0] < 2 else step

    state = run(method, 4, late)
    assert state.evidence[0] == -math.inf
    assert state.evidence[1] > -math.inf
    assert state.weights


def test_exchanges_are_the_dossiers() -> None:
    assert exchange(0.9, 0.2, 2.0, 1.0) == 1
    assert exchange(0.2, 0.9, 2.0, 1.0) == pytest.approx(0.704688, abs=1e-6)


def test_every_path_has_its_probability() -> None:
    """Of the toy itself."""
    assert math.fsum(p for _, p in paths()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: filtering(particles=0), "particles is 0"),
        (lambda: filtering(scale="logs"), "did you mean 'log'"),
        (lambda: filtering(resampling="systemic"), "did you mean 'systematic'"),
        (lambda: filtering(threshold=1.5), "threshold is 1.5"),
        (lambda: filtering(softness=0.0), "softness is 0.0"),
        (lambda: filtering(target="new"), "target"),
        (lambda: filtering(finished="stay"), "finished"),
        (lambda: ParticleGibbs(verifier="process_reward", iterations=0), "iterations is 0"),
        (lambda: ParticleGibbs(verifier="process_reward", pool="none"), "pool"),
        (lambda: ParticleGibbs(verifier="process_reward", resampling="residual"), "multinomial"),
        (lambda: ParallelTempering(verifier="process_reward", ladder=(1.0, 2.0)), "fall"),
        (lambda: ParallelTempering(verifier="process_reward", ladder=()), "ladder"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, said: str) -> None:  # a lambda
    with pytest.raises(InputError, match=said):
        make()
