"""Token confidence: its value, and that a row's does not depend on the other rows."""

from __future__ import annotations

import asyncio
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import log_softmax

from ponder.runtime import BranchPath, InputError, Sampling, ScriptedEngine, Segment
from ponder.runtime.confidence import LEAST, confidence_of
from ponder.runtime.runners.confidence import confidences
from ponder.runtime.runners.sampler import NOT_FINITE, Draw, draw, make_rule

SIZE = 12
LOGITS = st.lists(st.floats(-60, 60, width=32), min_size=SIZE, max_size=SIZE)
ROWS = st.lists(st.tuples(LOGITS, st.integers(0, SIZE)), min_size=1, max_size=6)


def test_values_worked_by_hand() -> None:
    halves = [math.log(0.5)] * 2
    assert confidence_of(halves, 1) == confidence_of(halves, 2) == pytest.approx(math.log(2))
    assert confidence_of([math.log(1 / 8)] * 8, 8) == pytest.approx(math.log(8))
    peaked = [math.log(0.7), math.log(0.2), math.log(0.1)]
    assert confidence_of(peaked, 2) == pytest.approx(-(math.log(0.7) + math.log(0.2)) / 2)
    assert confidence_of(peaked, 3) > confidence_of([math.log(1 / 3)] * 3, 3)


def test_impossible_tokens_count_as_the_least_there_is() -> None:
    assert confidence_of([0.0], 4) == -3 * LEAST / 4
    assert confidence_of([0.0, -math.inf, -9999.0], 4) == -3 * LEAST / 4


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_a_row_s_value_is_its_own(rows: list[tuple[list[float], int]], seed: int) -> None:
    """To the bit, with others or alone; and what the definition says."""
    logits, ks = torch.tensor([row for row, _ in rows]), [k for _, k in rows]
    rules = [make_rule(Sampling(max_tokens=1), SIZE)] * len(rows)
    points = [BranchPath(seed).uniform(i) for i in range(len(rows))]
    draws = draw(logits, rules, points)
    together = confidences(logits, draws, ks)
    for i, k in enumerate(ks):
        assert confidences(logits[i : i + 1], draws[i : i + 1], [k]) == [together[i]]
        want = confidence_of(log_softmax(logits[i].tolist()), k) if k else None
        assert together[i] == (want if want is None else pytest.approx(want, abs=1e-4))


def test_what_was_not_drawn_has_none() -> None:
    logits = torch.full((1, SIZE), math.nan)
    assert confidences(logits, [Draw(fault=NOT_FINITE)], [3]) == [None]


def test_ruled_out_tokens_leave_a_number() -> None:
    logits = torch.tensor([[0.0, -math.inf, 0.0, -math.inf]])
    (value,) = confidences(logits, [Draw(token=0, logprob=-math.log(2))], [4])
    assert value == pytest.approx((2 * math.log(2) - 2 * LEAST) / 4)


@pytest.mark.parametrize("k", [-1, -20])
def test_less_than_none_is_refused(k: int) -> None:
    with pytest.raises(InputError, match=rf"confidence is {k}; it must be 0 \(none\) or above"):
        Sampling(max_tokens=1, confidence=k)


def test_of_a_script_it_is_that_of_its_weights() -> None:
    """Nothing else is possible behind the first letter."""
    engine = ScriptedEngine(lambda prompt: {"ab": 0.5, "cd": 0.25, "ed": 0.25})

    async def body() -> Segment:
        branch = await engine.open("q", path=BranchPath(1))
        return await branch.extend(Sampling(max_tokens=9, confidence=3))

    first = -(math.log(0.5) + 2 * math.log(0.25)) / 3
    sure = -2 * LEAST / 3
    assert asyncio.run(body()).confidences == pytest.approx((first, sure, sure))
