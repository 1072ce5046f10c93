"""Native sampling against the torch sampler, and its own laws."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch
from native_cases import SETS, native_runner, require
from tiny_llama import CONFIG, tiny
from torch import Tensor

from ponder.runtime import ModelError, Sampling
from ponder.runtime.constraints.following import packed
from ponder.runtime.kernels import native
from ponder.runtime.runners.native_llama import NativeLlama
from ponder.runtime.runners.sampler import FORBIDDEN, NOT_FINITE, Draw, Rule, draw, make_rule

VOCABULARY = 1003
ROWS = 8


@pytest.fixture(params=SETS)
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NativeLlama:
    require(request.param)
    monkeypatch.setenv(native.SWITCH, request.param)
    return native_runner(tiny(replace(CONFIG, head_dim=16, vocabulary=VOCABULARY, layers=1)))


def settings_of(chance: random.Random) -> Sampling:
    bias = {
        chance.randrange(VOCABULARY): chance.choice([-math.inf, 5.0, -3.0, 0.5]) for _ in range(9)
    }
    return Sampling(
        max_tokens=1,
        temperature=chance.choice([0, 0.3, 1.0, 2.5]),
        top_k=chance.choice([None, 1, 5, 90, 9999]),
        top_p=chance.choice([1.0, 1.0, 0.05, 0.5, 0.9, 0.999]),
        min_p=chance.choice([0.0, 0.0, 0.01, 0.4]),
        bias=tuple(bias.items()) if chance.random() < 0.5 else (),
    )


def held(rule: Rule, chance: random.Random) -> Rule:
    """To some tokens, few or many, or to all."""
    share = chance.choice([0.01, 0.5, 0.99, None])
    if share is None:
        return rule
    return replace(rule, allowed=packed(chance.random() < share for _ in range(VOCABULARY)))


def one(runner: NativeLlama, logits: Tensor, params: Sampling, uniform: float = 0.5) -> Draw:
    return runner.draw(logits[None], [make_rule(params, VOCABULARY)], [uniform])[0]


def test_it_draws_what_torch_draws(runner: NativeLlama) -> None:
    chance = random.Random(7)
    generator = torch.Generator().manual_seed(7)
    differ = compared = 0
    for i in range(120):
        # Steps of one half make ties, except in every third round.
        logits = torch.randn(ROWS, VOCABULARY, generator=generator) * 6
        logits = logits if i % 3 == 0 else logits.round() / 2
        rules = [held(make_rule(settings_of(chance), VOCABULARY), chance) for _ in range(ROWS)]
        points = [chance.random() for _ in range(ROWS)]
        want, got = draw(logits, rules, points), runner.draw(logits, rules, points)
        for w, g in zip(want, got, strict=True):
            compared += 1
            differ += w.token != g.token
            if w.token == g.token:
                assert g.logprob == pytest.approx(w.logprob, abs=2e-5)
    # Weights are float32 here and float64 there: one draw in thousands falls on a border between
    # tokens, or a nucleus ends one token sooner.
    assert compared == 120 * ROWS
    assert differ <= 2


def test_greedy_takes_the_lowest_id_on_ties(runner: NativeLlama) -> None:
    logits = torch.zeros(VOCABULARY)
    logits[[30, 17, 400]] = 2.0
    assert one(runner, logits, Sampling(max_tokens=1, temperature=0)).token == 17


def test_faults_name_their_row(runner: NativeLlama) -> None:
    logits = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0))
    logits[1, 3] = torch.nan
    logits[2, 1002] = torch.inf
    plain = make_rule(Sampling(max_tokens=1), VOCABULARY)
    everything = tuple((i, -math.inf) for i in range(VOCABULARY))
    nothing = make_rule(Sampling(max_tokens=1, bias=everything), VOCABULARY)
    draws = runner.draw(logits, [plain, plain, plain, nothing], [0.5] * 4)
    assert [d.fault for d in draws] == ["", NOT_FINITE, NOT_FINITE, FORBIDDEN]
    closed = replace(plain, allowed=packed([False] * VOCABULARY))
    draws = runner.draw(logits, [closed, closed, plain, plain], [0.5] * 4)
    assert [d.fault for d in draws] == [FORBIDDEN, NOT_FINITE, NOT_FINITE, ""]


def test_a_mask_of_another_size_is_not_read(runner: NativeLlama) -> None:
    rule = replace(make_rule(Sampling(max_tokens=1), VOCABULARY), allowed=packed([True] * 900))
    with pytest.raises(ModelError, match=r"a mask has \(113,\) bytes for 1003 tokens"):
        runner.draw(torch.zeros(1, VOCABULARY), [rule], [0.5])


def test_frequencies_are_the_models(runner: NativeLlama) -> None:
    """Uniforms on a grid: each token gets its share, to the width of a step."""
    logits = torch.full((VOCABULARY,), -torch.inf)
    logits[[2, 400, 900, 1002]] = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    steps = 2000
    rules = [make_rule(Sampling(max_tokens=1), VOCABULARY)] * steps
    points = [(i + 0.5) / steps for i in range(steps)]
    draws = runner.draw(logits.expand(steps, -1), rules, points)
    tokens = [d.token for d in draws]
    assert tokens == sorted(tokens)
    for token, share in ((2, 0.1), (400, 0.2), (900, 0.3), (1002, 0.4)):
        assert abs(tokens.count(token) / steps - share) <= 1 / steps
        assert draws[tokens.index(token)].logprob == pytest.approx(math.log(share), abs=1e-6)


def test_the_last_token_with_weight_takes_the_end(runner: NativeLlama) -> None:
    logits = torch.full((VOCABULARY,), -torch.inf)
    logits[:3] = 0.0
    almost = math.nextafter(1.0, 0.0)
    assert one(runner, logits, Sampling(max_tokens=1), almost).token == 2
