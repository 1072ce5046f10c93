"""Weights, resampling and the algebra of clouds: their sources' numbers, and their laws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import InputError
from ponder.strategies.particles.cloud import Cloud
from ponder.strategies.particles.resampling import SCHEMES, check_scheme, residual, systematic
from ponder.strategies.particles.weights import (
    SCALES,
    check_scale,
    effective,
    log_mean,
    log_sum,
    shares,
)

LOGS = st.lists(st.floats(-30, 30) | st.just(-math.inf), min_size=1, max_size=12)
ALIVE = LOGS.filter(lambda logs: max(logs) > -math.inf)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("log", [0.6, 0.333333, 0.066667]),
        ("logit", [0.890110, 0.098901, 0.010989]),
        ("raw", [0.471776, 0.316241, 0.211983]),
    ],
)
def test_scales_are_the_dossiers(scale: str, expected: list[float]) -> None:
    assert shares([SCALES[scale](r) for r in (0.9, 0.5, 0.1)]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_rise_with_the_score_and_take_its_ends(scale: str) -> None:
    found = [SCALES[scale](i / 100) for i in range(101)]
    assert found == sorted(found)
    assert found[-1] < math.inf


def test_effective_size_is_the_dossiers() -> None:
    logs = [math.log(w) for w in (0.5, 0.3, 0.2)]
    assert effective(logs) == pytest.approx(2.631579, abs=1e-6)


@given(logs=ALIVE, shift=st.floats(-500, 500))
def test_a_constant_in_the_log_weights_changes_no_share(logs: list[float], shift: float) -> None:
    moved = [x + shift for x in logs]
    assert shares(moved) == pytest.approx(shares(logs), abs=1e-9)
    assert effective(moved) == pytest.approx(effective(logs), rel=1e-9)
    assert log_sum(moved) == pytest.approx(log_sum(logs) + shift, abs=1e-9)
    assert 1 - 1e-9 <= effective(logs) <= len(logs) + 1e-9


def test_nothing_is_made_of_the_dead() -> None:
    dead = [-math.inf] * 3
    assert log_sum([]) == log_mean([]) == log_mean(dead) == -math.inf
    assert shares(dead) == []
    assert effective(dead) == 0
    cloud = Cloud(particles=("a", "b", "c"), log_weights=tuple(dead))
    assert cloud.resampled("systematic", lambda i: 0.5) is cloud
    assert cloud.shares == [0, 0, 0]
    assert cloud.log_evidence == -math.inf


# --- resampling ---


def test_strides_are_the_dossiers() -> None:
    assert systematic([0.5, 0.3, 0.2], 4, lambda i: 0.5) == [0, 0, 1, 2]


def test_what_is_left_is_the_dossiers() -> None:
    """Two, one and none for sure; one more from (0, .2, .8)."""
    assert residual([0.5, 0.3, 0.2], 4, lambda i: 0.1) == [0, 0, 1, 1]
    assert residual([0.5, 0.3, 0.2], 4, lambda i: 0.3) == [0, 0, 1, 2]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(logs=ALIVE, n=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_whoever_is_drawn_has_weight(scheme: str, logs: list[float], n: int, seed: int) -> None:
    dice, weights = Random(seed), shares(logs)
    drawn = SCHEMES[scheme](weights, n, lambda i: dice.random())
    assert len(drawn) == n
    assert all(weights[i] > 0 for i in drawn)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ancestors_come_as_often_as_their_weights_say(scheme: str) -> None:
    """In expectation over draws on a grid, exactly where the scheme draws once or twice."""
    weights, n, grid = [0.45, 0.05, 0.3, 0.2], 3, 40
    counted, total = Counter[int](), 0
    for points in product(range(grid), repeat=n):
        uniforms = [(x + 0.5) / grid for x in points]
        counted.update(SCHEMES[scheme](weights, n, uniforms.__getitem__))
        total += 1
    for i, weight in enumerate(weights):
        assert counted[i] / total == pytest.approx(n * weight, abs=0.02)


@pytest.mark.parametrize("scheme", ["systematic", "stratified"])
@given(logs=ALIVE, seed=st.integers(0, 10**6))
def test_strides_keep_near_what_is_due(scheme: str, logs: list[float], seed: int) -> None:
    dice, weights, n = Random(seed), shares(logs), len(logs)
    counted = Counter(SCHEMES[scheme](weights, n, lambda i: dice.random()))
    slack = 1 if scheme == "systematic" else 2
    assert all(abs(counted[i] - n * w) < slack + 1e-6 for i, w in enumerate(weights))


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual"])
@given(n=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_equal_weights_are_left_as_they_are(scheme: str, n: int, seed: int) -> None:
    dice = Random(seed)
    drawn = SCHEMES[scheme]([1 / n] * n, n, lambda i: 0.001 + 0.998 * dice.random())
    assert drawn == list(range(n))


# --- the algebra ---


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("keep", [0, 1])
@given(logs=ALIVE, seed=st.integers(0, 10**6))
def test_resampling_keeps_the_evidence(
    scheme: str, keep: int, logs: list[float], seed: int
) -> None:
    dice = Random(seed)
    cloud = Cloud[int].of(range(len(logs))).weighed(logs)
    after = cloud.resampled(scheme, lambda i: dice.random(), keep=keep)
    assert after.log_evidence == pytest.approx(cloud.log_evidence, abs=1e-9)
    assert after.effective == pytest.approx(len(logs))
    assert after.particles[:keep] == cloud.particles[:keep]
    assert len(after.particles) == len(logs)


def test_a_cloud_weighs_twice_what_it_is_told_twice() -> None:
    cloud = Cloud[str].of("ab").weighed([1.0, -math.inf]).weighed([2.0, math.inf])
    assert cloud.log_weights == (3.0, -math.inf)  # the dead stay dead
    assert cloud.moved((1, 2)).log_weights == cloud.log_weights


@pytest.mark.parametrize(
    ("check", "name"), [(check_scale, "log"), (check_scheme, "systematic")], ids=str
)
def test_names_are_checked(check: Callable[[str], None], name: str) -> None:
    check(name)
    with pytest.raises(InputError, match=f"did you mean '{name}'"):
        check(name + "x")
