"""Token confidence: of the model's own distribution, and told only where it is asked for."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from laws import CLOSE, FREE, GREEDY, log_softmax, needs, opened

from ponder.runtime import CapabilityError, Engine, InputError, Sampling, Usage
from ponder.runtime.confidence import LEAST, confidence_of

K = 4
TOLD = replace(FREE, confidence=K)
WIDE = 2000
"""A vocabulary up to which all of it is asked for."""


@needs("confidence")
async def test_confidence_is_told_where_it_is_asked_for(engine: Engine) -> None:
    told, quiet = (await opened(engine)).fork(2)
    segment = await told.extend(TOLD)
    assert len(segment.confidences) == len(segment.logprobs) > 0
    assert all(math.log(K) - CLOSE <= each <= -LEAST for each in segment.confidences)
    assert (await quiet.extend(FREE)).confidences == ()


@needs("confidence")
async def test_confidence_does_not_change_draws(engine: Engine) -> None:
    plain = await (await opened(engine)).extend(GREEDY)
    told = await (await opened(engine)).extend(replace(GREEDY, confidence=K))
    assert told.text == plain.text
    assert told.logprobs == pytest.approx(plain.logprobs, abs=CLOSE)
    if engine.capabilities.seed:
        free, asked = [await (await opened(engine)).extend(params) for params in (FREE, TOLD)]
        assert free.tokens == asked.tokens


@needs("confidence")
async def test_settings_do_not_change_confidence(engine: Engine) -> None:
    """It is the model's own, of temperature 1 and nothing left out."""
    cold = await (await opened(engine)).extend(replace(GREEDY, confidence=K))
    sharp = Sampling(max_tokens=8, temperature=1.7, top_p=1e-6, confidence=K)
    hot = await (await opened(engine)).extend(sharp)
    assert hot.text == cold.text
    assert hot.confidences == pytest.approx(cold.confidences, abs=CLOSE)


@needs("confidence", "logits")
async def test_confidence_is_that_of_the_logits(engine: Engine) -> None:
    most = engine.capabilities.confidence
    ks = [1, K, 20, most if most <= WIDE else 50]
    logits = await (await opened(engine)).logits()
    assert len(logits) == most
    own = log_softmax(logits)
    for k in ks:
        (fork,) = (await opened(engine, k)).fork(1)
        segment = await fork.extend(Sampling(max_tokens=1, temperature=0.7, confidence=k))
        assert segment.confidences == pytest.approx([confidence_of(own, k)], abs=CLOSE)


@needs("confidence", "logits")
async def test_bias_does_not_change_confidence(engine: Engine) -> None:
    forced = Sampling(max_tokens=1, bias=((ord("x"), 50.0),), confidence=K)
    plain, other = (await opened(engine)).fork(2)
    want = await plain.extend(Sampling(max_tokens=1, confidence=K))
    got = await other.extend(forced)
    assert got.confidences == pytest.approx(want.confidences, abs=CLOSE)


@needs("confidence", "seed")
async def test_confidence_does_not_depend_on_company(engine: Engine) -> None:
    """Of branches that ask for it, for more of it, or for none."""
    asked = [replace(FREE, confidence=k) for k in (K, 0, 2, K, 1)]
    alone = [await (await opened(engine, i)).extend(params) for i, params in enumerate(asked)]
    branches = [await opened(engine, i) for i in range(len(asked))]
    crowd = await asyncio.gather(
        *(branch.extend(params) for branch, params in zip(branches, asked, strict=True))
    )
    for one, other, params in zip(alone, crowd, asked, strict=True):
        assert one.text == other.text
        assert one.confidences == pytest.approx(other.confidences, abs=CLOSE)
        assert bool(one.confidences) == bool(params.confidence)


@needs("decode")
async def test_confidence_that_cannot_be_told_is_refused(engine: Engine) -> None:
    most = engine.capabilities.confidence
    branch = await opened(engine)
    before = branch.usage, branch.text
    refusal = InputError if most else CapabilityError
    with pytest.raises(refusal, match="confidence"):
        await branch.extend(replace(FREE, confidence=most + 1))
    assert (branch.usage, branch.text) == before
    if engine.capabilities.fork == "text":
        assert branch.usage == Usage()


@needs("confidence", "stream")
async def test_a_stream_tells_confidence_at_its_end(engine: Engine) -> None:
    whole = await (await opened(engine)).extend(replace(GREEDY, confidence=K))
    branch = await opened(engine)
    async for delta in branch.stream(replace(GREEDY, confidence=K)):
        segment = delta.segment
    assert segment is not None
    assert segment.confidences == pytest.approx(whole.confidences, abs=CLOSE)
