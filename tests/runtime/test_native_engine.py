"""The engine on the native step: what a branch draws is its own, to the bit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from native_cases import FORMATS, require
from tiny_llama import CONFIG, tiny

from ponder.runtime import BranchPath, Sampling, Segment
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.runners.native_llama import WeightFormat

MODEL = tiny(replace(CONFIG, head_dim=32), ends=False)
PATH = BranchPath(5, ("native",))
BRANCHES = 64


async def drawn(
    weight_format: WeightFormat, which: range, *, pages: int, step_tokens: int = 512
) -> tuple[dict[int, Segment], int]:
    """Branch i of 64: a common prompt with an end of its own, a draw, a fork, a draw."""
    engine = LocalEngine(
        MODEL,
        pages=pages,
        threads=2,
        step_tokens=step_tokens,
        weight_format=weight_format,
        kernels="native",
    )

    async def one(i: int) -> Segment:
        prompt = "a common beginning that is longer than a page " + "x" * (i % 21)
        branch = await engine.open(prompt, path=PATH.child(i), priority=i % 3)
        await branch.extend(Sampling(max_tokens=5 + i % 13))
        (child,) = branch.fork(1)
        branch.close()
        k = (0, 3, CONFIG.vocabulary)[i % 3]
        segment = await child.extend(Sampling(max_tokens=40, top_p=0.95, confidence=k))
        child.close()
        return segment

    try:
        segments = await asyncio.gather(*(one(i) for i in which))
    finally:
        await engine.close()
    return dict(zip(which, segments, strict=True)), engine.stats().preempted


def drawing(segment: Segment) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    return segment.tokens, segment.logprobs, segment.confidences


@pytest.mark.parametrize("weight_format", FORMATS)
def test_company_chunks_and_preemption_change_nothing(weight_format: WeightFormat) -> None:
    require("")

    async def body() -> None:
        everybody = range(BRANCHES)
        crowd, none = await drawn(weight_format, everybody, pages=1500)
        squeezed, preempted = await drawn(weight_format, everybody, pages=24)
        chunked, _ = await drawn(weight_format, everybody, pages=1500, step_tokens=7)
        assert none == 0
        assert preempted > 0
        for i in everybody:
            for other in (squeezed[i], chunked[i]):
                assert drawing(other) == drawing(crowd[i])
        for i in (0, 1, 20, 63):
            alone, _ = await drawn(weight_format, range(i, i + 1), pages=1500)
            assert drawing(alone[i]) == drawing(crowd[i])

    asyncio.run(body())
