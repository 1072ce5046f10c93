"""The search benchmark: its oracle is as calibrated as it says, its arithmetic is right, and all of
it runs.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks.searching.bookkeeping import SHARED, core
from benchmarks.searching.efficiency import Run, settings
from benchmarks.searching.equal import Comparison, crossing
from benchmarks.searching.methods import METHODS, strategy
from benchmarks.searching.oracle import ANSWER, ATTRACTORS, ChainEngine, Oracle, auc, question
from benchmarks.searching.straggler import excess
from ponder.runtime import Branch, BranchPath, Sampling

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("share", [0.7, 0.9, 0.99])
def test_noise_leaves_the_auc_it_is_told(share: float) -> None:
    noise, dice = Oracle(name="", auc=share).noise, Random(0)
    drawn = [
        [min(1.0, max(0.0, truth + dice.gauss(0, noise))) for truth in (1, 0)] for _ in range(20000)
    ]
    found = sum((right > wrong) + (right == wrong) / 2 for right, wrong in drawn) / len(drawn)
    assert found == pytest.approx(share, abs=0.01)
    assert auc(noise) == pytest.approx(share, abs=1e-6)


def test_one_sample_is_right_as_often_as_the_oracle_says() -> None:
    oracle, asked = Oracle(name="", auc=0.9), 2000
    right = sum(text.endswith(ANSWER) for text in asyncio.run(sampled(oracle, asked)))
    spread = math.sqrt(oracle.once * (1 - oracle.once) / asked)
    assert right / asked == pytest.approx(oracle.once, abs=4 * spread)


async def sampled(oracle: Oracle, items: int) -> list[str]:
    engine, texts = ChainEngine(oracle), list[str]()
    for item in range(items):
        branch: Branch = await engine.open(question(item), path=BranchPath(item))
        async with branch:
            said = await branch.extend(Sampling(max_tokens=50))
        assert said.usage.decoded == oracle.depth + 1  # and the end
        texts.append(said.text)
    assert {text[-1] for text in texts} == {ANSWER, *ATTRACTORS}
    return texts


def test_wrong_stays_wrong() -> None:
    for text in asyncio.run(sampled(Oracle(name="", auc=0.9), 200)):
        kinds = [c in ATTRACTORS or ord(c) >= 0x7000 for c in text]
        assert kinds == sorted(kinds)


def test_a_curve_is_straight_between_its_points_in_the_logarithm_of_tokens() -> None:
    right, tokens = np.array([0.2, 0.4, 0.3, 0.8]), np.array([10.0, 40.0, 80.0, 160.0])
    assert crossing(right, tokens, 0.3) == pytest.approx(20.0)
    assert crossing(right, tokens, 0.1) == 10.0
    assert crossing(right, tokens, 0.9) == math.inf


def test_half_the_tokens_for_the_same_answers_is_a_ratio_of_a_half() -> None:
    dice = Random(1)
    wins = [[dice.random() < share for _ in range(100)] for share in (0.3, 0.5, 0.7)]
    found = {
        (name, size): [Run(right=won, tokens=cost * size, passes=0) for won in several]
        for name, cost in (("dear", 2), ("cheap", 1))
        for size, several in zip((4, 16, 64), wins, strict=True)
    }
    ratio = Comparison(found).ratio("cheap", "dear", 16)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_trees_have_the_size_they_are_measured_at(method: object) -> None:
    (sized,) = [m for m in METHODS if m is method]
    assert core(strategy(sized.sized(1000, SHARED)))[1] == pytest.approx(1000, rel=0.01)


def test_a_search_by_itself_is_never_faster_than_even_time() -> None:
    for method in METHODS[:2]:
        assert excess(method, 8, [0], 8) >= 1
        assert excess(method, 8, [0], 1) == pytest.approx(1, abs=1e-6)


def test_settings_are_told_apart_by_name() -> None:
    names = [setting.name for setting in settings(300, quick=False)]
    assert len(set(names)) == len(names)


def test_all_of_it_runs() -> None:
    command = [sys.executable, "benchmarks/search.py", "--quick", "--json", "--metrics"]
    parts = ["bookkeeping", "straggler", "efficiency"]
    done = subprocess.run(
        [*command, *parts], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told) == {"machine", "metrics", "efficiency", "floors"}
    assert set(told["metrics"]) == {"bookkeeping", "straggler"}
