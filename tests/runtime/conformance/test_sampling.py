"""Draws: functions of the path, under the settings, from the model."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest
from laws import FREE, GREEDY, ONE, likeliest, log_softmax, needs, opened

from ponder.runtime import CapabilityError, Engine, Sampling, Usage

CHI_SQUARE_999 = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5, 7: 24.3, 8: 26.1, 9: 27.9}
"""Values that a chi-square variable exceeds once in a thousand, by degrees of freedom."""


@needs("decode")
async def test_temperature_zero_repeats_itself(engine: Engine) -> None:
    texts = {(await (await opened(engine, i)).extend(GREEDY)).text for i in range(3)}
    assert len(texts) == 1


@needs("seed", "decode")
async def test_equal_paths_draw_alike_and_others_do_not(engine: Engine) -> None:
    drawn = [(await (await opened(engine, i)).extend(FREE)).tokens for i in range(6)]
    again = [(await (await opened(engine, i)).extend(FREE)).tokens for i in range(6)]
    assert drawn == again
    assert len(set(drawn)) > 1


async def greedy_under(engine: Engine, params: Sampling) -> None:
    greedy = (await (await opened(engine)).extend(GREEDY)).text
    for i in range(3):
        assert (await (await opened(engine, i)).extend(params)).text == greedy


@needs("top_k", "decode")
async def test_top_k_of_one_is_greedy(engine: Engine) -> None:
    await greedy_under(engine, Sampling(max_tokens=8, temperature=1.5, top_k=1))


@needs("min_p", "decode")
async def test_min_p_near_one_is_greedy(engine: Engine) -> None:
    await greedy_under(engine, Sampling(max_tokens=8, temperature=1.5, min_p=0.9999))


@needs("decode")
async def test_top_p_near_zero_is_greedy(engine: Engine) -> None:
    await greedy_under(engine, Sampling(max_tokens=8, temperature=1.5, top_p=1e-6))


@needs("decode")
async def test_settings_that_are_not_declared_are_refused(engine: Engine) -> None:
    can = engine.capabilities
    settings = [
        (can.top_k, Sampling(max_tokens=3, top_k=2), "top_k"),
        (can.min_p, Sampling(max_tokens=3, min_p=0.5), "min_p"),
    ]
    for declared, params, name in settings:
        branch = await opened(engine)
        before = branch.usage
        if declared:
            assert (await branch.extend(params)).usage.decoded <= 3
            continue
        with pytest.raises(CapabilityError, match=name):
            await branch.extend(params)
        assert (branch.usage, branch.text) == (before, "")
    if not all(declared for declared, _, _ in settings) and can.fork == "text":
        assert (await opened(engine)).usage == Usage()


@needs("logits", "decode")
async def test_draws_follow_the_model(engine: Engine) -> None:
    """Chi-square at one in a thousand (the seed is fixed, so it holds or not), over the likeliest
    tokens and the rest.
    """
    root = await opened(engine)
    model = {t: math.exp(v) for t, v in enumerate(log_softmax(await root.logits())) if v > -1e9}
    likely = sorted(model, key=lambda t: -model[t])[:8]
    n = 600
    drawn = await asyncio.gather(*(fork.extend(ONE) for fork in root.fork(n)))
    seen = Counter(segment.tokens[0] for segment in drawn)
    cells = [(seen[t], n * model[t]) for t in likely]
    rest = n - sum(got for got, _ in cells), n - sum(want for _, want in cells)
    cells += [rest] if rest[1] > 1 else []
    assert set(seen) <= set(model)
    statistic = sum((got - want) ** 2 / want for got, want in cells)
    assert statistic < CHI_SQUARE_999[len(cells) - 1]


@needs("logits", "decode")
async def test_the_greedy_token_has_the_highest_logit(engine: Engine) -> None:
    branch = await opened(engine)
    for _ in range(4):
        best = likeliest(await branch.logits())
        segment = await branch.extend(Sampling(max_tokens=1, temperature=0))
        assert segment.tokens == (best,)
