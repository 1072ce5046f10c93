"""A row's results are the same to the bit, whoever shares its step and wherever its KV lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from native_cases import (
    FORMATS,
    PAGES,
    SETS,
    Slots,
    model_of,
    native_runner,
    pages,
    require,
    run,
    text,
)
from torch import Tensor

from ponder.runtime.kernels import native
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.runners.api import PAGE, Work
from ponder.runtime.runners.native_llama import NativeLlama, WeightFormat

LENGTH = 330
"""Two segments of 256 positions, and a block begun."""
BRANCHES = 64


@pytest.fixture(params=[(isa, form) for isa in SETS for form in FORMATS], ids="-".join)
def case(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[LoadedModel, WeightFormat]:
    isa, weight_format = request.param
    require(isa)
    monkeypatch.setenv(native.SWITCH, isa)
    return model_of("three queries a head"), weight_format


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def test_chunks_threads_and_places_change_nothing(case: tuple[LoadedModel, WeightFormat]) -> None:
    runner = native_runner(*case)
    tokens = text(LENGTH, 1)
    want = run(runner, tokens, pages(0, LENGTH))
    chance = np.random.default_rng(2)
    some = sorted(chance.choice(np.arange(1, LENGTH), 20, replace=False).tolist())
    assert same(run(runner, tokens, pages(30, LENGTH), range(1, LENGTH)), want)
    assert same(run(runner, tokens, pages(60, LENGTH), some), want)
    for threads in (1, 5):  # five: fewer parts than threads, and threads without a core
        other = native_runner(*case, threads=threads)
        assert same(run(other, tokens, pages(0, LENGTH), some), want), threads
    unaligned = pages(90, LENGTH + 5)[5:]
    assert same(run(runner, tokens, unaligned, some), want)
    anywhere = chance.permutation(PAGES * PAGE)[:LENGTH]
    assert same(run(runner, tokens, anywhere, some), want)


def branch(i: int, prefix: Slots) -> tuple[list[int], Slots]:
    """Branch i's own tokens and all its places; every third goes on in the middle of a page."""
    own = 1 + (7 * i) % 19
    start = (40 + 4 * i) * PAGE + (0 if i % 3 else len(prefix) % PAGE)
    return text(own, 100 + i), np.concatenate([prefix, np.arange(start, start + own)])


def alone(runner: NativeLlama, prefix: list[int], i: int) -> Tensor:
    """Branch i from nothing, in pages of its own."""
    own, _ = branch(i, pages(0, len(prefix)))
    tokens = prefix + own
    return run(runner, tokens, pages(320, len(tokens)))[len(prefix) :]


@pytest.mark.parametrize("shared", [64, 205, 256])
def test_company_and_sharing_change_nothing(
    case: tuple[LoadedModel, WeightFormat], shared: int
) -> None:
    runner = native_runner(*case)
    prefix = text(shared, 5)
    places = pages(0, shared)
    run(runner, prefix, places)
    for count in (2, 3, 17, BRANCHES):
        works: list[Work] = []
        for i in range(count):
            own, slots = branch(i, places)
            # The last token in this step, the ones before in another.
            if own[:-1]:
                runner.hidden([Work(tokens=own[:-1], slots=slots[:-1], wanted=1)])
            works.append(Work(tokens=own[-1:], slots=slots, wanted=1))
        # Somebody else's prompt comes along in the middle.
        works.insert(count // 2, Work(tokens=text(50, 9), slots=pages(400, 50), wanted=0))
        got = runner.logits(runner.hidden(works)).clone()
        for i in range(0, count, max(1, count // 4)):
            assert same(got[i], alone(runner, prefix, i)[-1]), (count, i)
