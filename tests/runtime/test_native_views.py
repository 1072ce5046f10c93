"""Text at places it was not computed for: holes, shifts, rows that sit elsewhere than they lie.

What the native step makes of it is held to a dense decoder that rotates every key to its position
in the view, and to itself: alone, in company, in chunks, with one thread or two, to the bit.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from native_cases import FORMATS, SETS, native_runner, pages, require, text
from native_views import CONFIGS, Dense, Stretch, chunk, random_model, work_of
from torch import Tensor

from ponder.runtime import ModelError
from ponder.runtime.kernels import native
from ponder.runtime.runners.api import PAGE, Ints, Work
from ponder.runtime.runners.native_llama import NativeLlama

ERROR = {"float32": 1e-5, "bfloat16": 0.04, "int8": 0.15, "int4": 0.5}
FAR = 100_000
"""Well beyond any table: models here have 512 positions."""
HOMES = (0, 300, -200, FAR, -FAR)


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    require(name)
    monkeypatch.setenv(native.SWITCH, name)
    return name


def sources(chance: np.random.Generator) -> list[Work]:
    """Texts that views are made of, each computed for positions from 0 on but turned for its home;
    they begin anywhere in a page.
    """
    works: list[Work] = []
    for i, home in enumerate(HOMES):
        length, offset = int(chance.integers(40, 150)), int(chance.integers(0, PAGE))
        places = pages(20 * i, offset + length)[offset:]
        works.append(work_of(text(length, i, 131), [Stretch(slots=places, shift=-home)], 0))
    return works


def moved(chance: np.random.Generator, given: list[Work], i: int) -> Work:
    """A view of parts of the sources at new positions, with gaps, and up to 90 tokens of its own
    behind them, which may be at a shift too.
    """
    stretches: list[Stretch] = []
    position = int(chance.integers(0, 40))
    for source in chance.choice(len(given), int(chance.integers(0, 4)), replace=False):
        work = given[source]
        start, end = sorted(chance.choice(len(work.slots) - work.past, 2, replace=False))
        part = work.slots[work.past + start : work.past + end]
        assert work.homes is not None
        stretches.append(Stretch(slots=part, shift=position - int(work.homes[start])))
        position += len(part) + int(chance.integers(0, 20))
    count, offset = int(chance.integers(1, 90)), int(chance.integers(0, PAGE))
    own = pages(200 + 10 * i, offset + count)[offset:]
    stretches.append(Stretch(slots=own, shift=int(chance.choice([0, 7, -450, FAR]))))
    return work_of(text(count, 50 + i, 131), stretches, position, holes=int(chance.integers(0, 6)))


def plain(i: int) -> Work:
    """The old kind, beside them."""
    return Work(tokens=text(70, i, 131), slots=pages(400 + 10 * i, 70), wanted=70)


def crowd(seed: int) -> tuple[list[Work], list[Work]]:
    chance = np.random.default_rng(seed)
    given = sources(chance)
    works = [moved(chance, given, i) for i in range(7)]
    works.insert(3, plain(0))
    # A second reader of the first view's places, at the same shifts.
    first = works[0]
    assert first.shifts is not None
    tail = first.slots.copy()
    tail[first.past :] += 100 * PAGE
    works.append(replace(first, slots=tail, tokens=text(len(first.tokens), 99, 131)))
    return given, works


def run_all(runner: NativeLlama, works: list[Work]) -> list[Tensor]:
    logits = runner.logits(runner.hidden(works)).clone()
    ends = np.cumsum([work.wanted for work in works])
    return [logits[end - work.wanted : end] for work, end in zip(works, ends, strict=True)]


@pytest.mark.parametrize("shape", CONFIGS)
def test_it_is_what_a_dense_decoder_says(isa: str, shape: str) -> None:
    model = random_model(CONFIGS[shape])
    given, works = crowd(seed=list(CONFIGS).index(shape))
    dense = Dense(model)
    want = torch.cat([dense.logits(work) for work in (*given, *works)]).float()
    for weight_format in FORMATS:
        runner = native_runner(model, weight_format)
        for half in runner.memory:
            half[:] = 0xFF  # not-a-numbers: what is in holes is not read
        got = torch.cat(run_all(runner, given) + run_all(runner, works))
        assert float((got - want).norm() / want.norm()) < ERROR[weight_format], weight_format


@pytest.mark.parametrize("weight_format", FORMATS)
def test_company_chunks_and_threads_change_nothing(isa: str, weight_format: Any) -> None:
    model = random_model(CONFIGS["three queries a head"])
    given, works = crowd(5)
    runner, other = (native_runner(model, weight_format, threads=n) for n in (2, 1))
    run_all(runner, given)
    for work in given:
        run_all(other, [work])
    chance = np.random.default_rng(0)
    for work, together in zip(works, run_all(runner, works), strict=True):
        assert torch.equal(together, run_all(other, [work])[0])
        if work.shifts is None:
            continue
        cuts = [0, *sorted(chance.integers(1, len(work.tokens) + 1, 3)), len(work.tokens)]
        parts = [(a, b) for a, b in pairwise(cuts) if a < b]
        chunks = [run_all(runner, [chunk(work, a, b)])[0] for a, b in parts]
        assert torch.equal(together, torch.cat(chunks))


def test_a_common_shift_of_everything_changes_nothing(isa: str) -> None:
    """Only differences of positions enter: up to the rounding of cosines."""
    model = random_model(CONFIGS["biases"])
    runner = native_runner(model)
    places = pages(0, 150)
    tokens = text(150, 1, 131)
    want = run_all(runner, [Work(tokens=tokens, slots=places, wanted=150)])[0]
    for shift in (-300, 90, FAR, -FAR):
        work = work_of(tokens, [Stretch(slots=places, shift=shift)], 0)
        torch.testing.assert_close(run_all(runner, [work])[0], want, rtol=1e-4, atol=1e-4)
    later = work_of(tokens, [Stretch(slots=places, shift=0)], 300)
    torch.testing.assert_close(run_all(runner, [later])[0], want, rtol=1e-4, atol=1e-4)


def test_the_old_kind_said_in_the_new_words_is_the_same_to_the_bit(isa: str) -> None:
    runner = native_runner(random_model(CONFIGS["head norms, yarn"]), "bfloat16")
    tokens, places = text(150, 1, 131), pages(0, 150)
    want = run_all(runner, [Work(tokens=tokens, slots=places, wanted=150)])[0]
    work = work_of(tokens, [Stretch(slots=places, shift=0)], 0)
    assert torch.equal(run_all(runner, [work])[0], want)


GOOD = work_of([1, 2, 3], [Stretch(slots=pages(0, 10), shift=4)], 11)


def numbers(*values: int) -> Ints:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    "change",
    [
        {"slots": np.where(np.arange(10) == 8, -1, GOOD.slots)},
        {"slots": np.where(np.arange(10) == 2, -2, GOOD.slots)},
        {"positions": numbers(510, 511, 512), "homes": numbers(506, 507, 508)},
        {"positions": numbers(-1, 0, 1), "homes": numbers(-5, -4, -3)},
        {"homes": numbers(7, 8, 10)},
        {"homes": None},
        {"shifts": numbers(2**40), "homes": GOOD.positions},
        {"shifts": numbers(-(2**63))},
        {"shifts": numbers(5)},
        {"shifts": numbers(4, 4)},
        {"shifts": numbers()},
        {"positions": numbers(11)},
        {"homes": numbers(7, 8, 9, 10)},
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, Any]) -> None:
    require("")
    runner = native_runner(random_model(CONFIGS["biases"]))
    runner.hidden([GOOD])
    with pytest.raises(ModelError, match="a bug in the engine"):
        runner.hidden([replace(GOOD, **change)])
