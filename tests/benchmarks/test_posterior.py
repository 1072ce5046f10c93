"""Samplers reach the toy's posterior, ours and genlm-control's, and the toy's answer is exact."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from statistics import mean, stdev

import pytest

from benchmarks.contenders import Running
from benchmarks.sampling import toy
from benchmarks.sampling.constraints import CASES, json_begins
from benchmarks.sampling.posterior import (
    GENLM,
    OURS,
    THEIRS,
    Found,
    Setting,
    apart,
    evidence,
    exact_draws,
    ours,
    pooled,
    theirs,
)

PARTICLES, RUNS = 8, 600
FAIR = [setting for setting in OURS if setting.sampler != "local"]


def test_the_exact_posterior_by_another_way() -> None:
    """Forward over the automaton: sums by last letter, parity of a, and whether a d was said."""
    sums = {("", 0, False): 1.0}
    total = 0.0
    for _ in range(toy.LONGEST + 1):
        onward: dict[tuple[str, int, bool], float] = {}
        for (text, odd, said), mass in sums.items():
            *letters, end = toy.chances(text)
            total += mass * end * (said and not odd)
            for letter, chance in zip(toy.LETTERS, letters, strict=True):
                if chance and (text[-1:], letter) != ("b", "b"):
                    # what is known of a text: its length and its last letter
                    key = ("-" * len(text) + letter, odd ^ (letter == "a"), said or letter == "d")
                    onward[key] = onward.get(key, 0.0) + mass * chance
        sums = onward
    assert total == pytest.approx(math.fsum(toy.target().values()))


def test_texts_of_the_model_are_all_of_it() -> None:
    assert math.fsum(chance for _, chance in toy.texts()) == pytest.approx(1.0)


def reaches(found: Found) -> None:
    """Within five standard errors of the evidence and of the twenty likeliest texts' masses."""
    target = toy.target()
    likeliest = sorted(target, key=target.__getitem__)[-20:]
    for text in (None, *likeliest):
        exact = math.fsum(target.values()) if text is None else target[text]
        masses = [e * (1.0 if text is None else shares.get(text, 0.0)) for e, shares in found.runs]
        assert abs(mean(masses) - exact) < 5 * stdev(masses) / math.sqrt(len(masses)), text
    assert apart(pooled(found.runs)) < 3 * apart(pooled(exact_draws(PARTICLES, RUNS)))


@pytest.mark.parametrize("setting", FAIR, ids=lambda setting: setting.name)
def test_ours_reach_it(setting: Setting) -> None:
    reaches(asyncio.run(ours(setting, PARTICLES, RUNS)))


def test_local_decoding_does_not() -> None:
    (local,) = (setting for setting in OURS if setting.sampler == "local")
    found = asyncio.run(ours(local, PARTICLES, RUNS))
    assert apart(pooled(found.runs)) > 1.5 * apart(pooled(exact_draws(PARTICLES, RUNS)))
    assert evidence(found.runs)[0] > 1.5


@pytest.fixture(scope="module")
def genlm() -> Iterator[Running]:
    if not GENLM.installed:
        pytest.skip("genlm-control is not there: `make .rivals/genlm/ready`")
    running = Running(replace(GENLM, name="genlm_tested"))
    yield running
    running.close()


@pytest.mark.parametrize(
    "setting", [s for s in THEIRS if s.sampler != "local"], ids=lambda setting: setting.name
)
def test_genlm_reaches_the_same(genlm: Running, setting: Setting) -> None:
    reaches(theirs(genlm, setting, PARTICLES, RUNS))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ('{"a": [1, -2.5, true], "b": {"c": null}}', True),
        ('{"a": "x\\"y', True),
        ("[[], {}", True),
        ("[1, 2]  ", True),
        ("[tru", True),
        ("", True),
        ("Here", False),
        ('{"a" 1', False),
        ("[1 2", False),
        ("[1]]", False),
        ("{]", False),
        ("{1", False),
        ("[trux", False),
        ("[01", False),
        ('"text', False),
    ],
)
def test_beginnings_of_json(text: str, begins: bool) -> None:
    assert json_begins(text) is begins
    if begins:
        assert all(json_begins(text[:i]) for i in range(len(text)))


def test_constraints_never_refuse_what_goes_on() -> None:
    """Whoever may be longer may be shorter."""
    for case in CASES.values():
        for letters in product('a2(.)[",#', repeat=3):
            text = "".join(letters)
            assert case.goes_on(text[:-1]) or not case.goes_on(text)
