"""The rules of adaptive compute alone: temperatures, who goes on from a checkpoint, calibration."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.strategies.annealing import SCHEDULES, annealed
from ponder.strategies.checkpoints import Checkpoint, places, settled
from ponder.strategies.concurrency import in_turn
from ponder.verifiers import platt

scores = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9]) | st.floats(0, 1), max_size=9)
shares = st.sampled_from([0.01, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0]) | st.floats(0.001, 1)


def test_temperatures_of_the_dossier() -> None:
    assert [annealed("halving", i, 0.0, 1.0, 2.0) for i in range(4)] == [0.0, 0.5, 0.75, 0.875]
    assert [annealed("none", i, 0.0, 0.8, 2.0) for i in range(3)] == [0.8] * 3
    assert [annealed("exponential", i, 0.2, 1.0, 2.0) for i in range(3)] == pytest.approx(
        [0.2, 0.2 + 0.8 * (1 - math.exp(-0.5)), 0.2 + 0.8 * (1 - math.exp(-1))]
    )


@given(
    st.sampled_from(SCHEDULES),
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0.1, 50),
    st.integers(0, 99),
)
def test_temperatures_never_fall_and_stay_inside(
    schedule: str, one: float, other: float, kappa: float, attempt: int
) -> None:
    low, high = sorted((one, other))
    first, second = (annealed(schedule, i, low, high, kappa) for i in (attempt, attempt + 1))
    assert low - 1e-12 <= first <= second <= high


def test_how_many_go_on() -> None:
    assert [places(n, 0.5) for n in range(1, 6)] == [1, 1, 2, 2, 3]
    assert [places(10, k) for k in (0.1, 0.3, 0.7, 1.0)] == [1, 3, 7, 10]
    assert places(100, 0.07) == 7  # 0.07 * 100 is a hair above 7


@given(scores, shares)
def test_in_the_end_the_best_share_goes_on(found: list[float], keep: float) -> None:
    sure = settled(dict(enumerate(found)), 0, keep)
    assert set(sure) == set(range(len(found)))
    on = [i for i in sure if sure[i]]
    if found:
        assert len(on) == places(len(found), keep)
    assert all((found[i], -i) > (found[j], -j) for i in on for j in sure if not sure[j])


@given(scores, shares, st.integers(0, 4), st.data())
def test_what_is_sure_early_stays_so(
    found: list[float], keep: float, absent: int, data: st.DataObject
) -> None:
    """Whoever arrives in whatever order, and whoever never does."""
    order = data.draw(st.permutations(range(len(found))))
    final = settled(dict(enumerate(found)), 0, keep)
    known: dict[int, float] = {}
    for place, index in enumerate(order):
        known[index] = found[index]
        for missing in {0, absent}:
            early = settled(known, len(found) - place - 1 + missing, keep)
            assert all(final[i] == goes for i, goes in early.items())


def test_the_best_need_not_wait_for_all() -> None:
    """Of 16 with half to go on, the best of the first nine is sure of its place."""
    known = {i: 1 - i / 10 for i in range(9)}
    assert settled(known, 7, 0.5)[0] is True
    assert settled({0: 0.9, 1: 0.1}, 0, 0.5) == {0: True, 1: False}
    assert settled({0: 0.9, 1: 0.1}, 1, 0.3) == {1: False}  # one place, which the third may take


def test_attempts_meet_at_a_checkpoint() -> None:
    async def run() -> list[bool]:
        checkpoint = Checkpoint(tokens=4, keep=0.5, coming=4)
        waiting = [
            asyncio.create_task(checkpoint.passes(i, q)) for i, q in ((2, 0.3), (0, 0.9), (1, 0.8))
        ]
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [False, False, False]
        checkpoint.leave()  # the fourth has ended before
        return await asyncio.gather(*waiting)

    assert asyncio.run(run()) == [False, True, True]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 100), st.floats(-50, 50))
def test_calibration_keeps_the_order(one: float, other: float, slope: float, offset: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= platt(low, slope, offset) <= platt(high, slope, offset) <= 1
    assert platt(low, 1.0, 0.0) == low


def test_calibration_is_a_sigmoid_of_the_log_odds() -> None:
    assert platt(0.5, 3.0, 1.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert platt(0.9, 0.5, 0.0) == pytest.approx(0.75)  # odds 9 become 3


@pytest.mark.parametrize(("at_once", "left_after"), [(1, 1), (3, 1), (3, 4), (9, 2)])
def test_results_come_in_turn_and_no_more_start_than_must(at_once: int, left_after: int) -> None:
    started: list[int] = []
    stopped: list[int] = []

    async def job(i: int) -> int:
        try:
            await asyncio.sleep(0.02 if i % 2 else 0)
        except asyncio.CancelledError:
            stopped.append(i)
            raise
        return i

    def jobs() -> Iterator[Coroutine[object, object, int]]:
        for i in range(20):
            started.append(i)
            yield job(i)

    async def run() -> list[int]:
        found: list[int] = []
        stream = in_turn(jobs(), at_once)
        async for result in stream:
            found.append(result)
            if len(found) == left_after:
                await stream.aclose()
        return found

    assert asyncio.run(run()) == list(range(left_after))
    assert len(started) == left_after + at_once - 1
    assert set(stopped) <= set(started[left_after:])
