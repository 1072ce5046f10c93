"""The engine against transformers in float32 on the embedded model's weights: the same logits, and
the same greedy tokens however the work is batched, shared, forked, rewound or cut into chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch

from ponder.runtime import BranchPath, Sampling
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models import LoadedModel
from ponder.runtime.runners.choice import Kernels

TOKENS = 64
GREEDY = Sampling(max_tokens=TOKENS, temperature=0)
PATH = BranchPath(0)
STORY = "Once upon a time, in a village between two rivers, there lived a clockmaker who "
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "Water boils at",
    "1, 1, 2, 3, 5, 8,",
    "The three primary colours are",
    "My favourite recipe begins with",
    "In 1969, astronauts",
    "A haiku about rain:\n",
    "Photosynthesis is the process by which",
    "Dear Sir or Madam,",
    "Question: What is 12 + 30?\nAnswer:",
    "SELECT name FROM",
    "The mitochondria",
    "Roses are red,",
    "日本の首都は",
    *(STORY + ending for ending in ("never", "once repaired", "feared", "sold", "dreamed of")),
]


@pytest.fixture(scope="module")
def wanted(hf_smollm2: Any, smollm2: LoadedModel) -> list[list[int]]:
    """64 greedy tokens a prompt, each shown to be what transformers takes after those before."""

    async def batch() -> list[list[int]]:
        async with engine_of(smollm2) as engine:
            return await asyncio.gather(*(decode(engine, prompt) for prompt in PROMPTS))

    drawn = asyncio.run(batch())
    for prompt, tokens in zip(PROMPTS, drawn, strict=True):
        given = smollm2.tokenizer.encode_prompt(prompt)
        with torch.inference_mode():
            logits = hf_smollm2(torch.tensor([given + tokens[:-1]])).logits[0, len(given) - 1 :]
        assert logits.argmax(dim=-1).tolist() == tokens, prompt
    return drawn


@asynccontextmanager
async def engine_of(
    model: LoadedModel, *, step_tokens: int = 512, kernels: Kernels = "auto"
) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(model, pages=1200, step_tokens=step_tokens, kernels=kernels)
    try:
        yield engine
    finally:
        await engine.close()


async def decode(engine: LocalEngine, prompt: str) -> list[int]:
    branch = await engine.open(prompt, path=PATH)
    tokens: list[int] = []
    while len(tokens) < TOKENS:  # an end token ends a segment, not this comparison
        more = Sampling(max_tokens=TOKENS - len(tokens), temperature=0)
        tokens += (await branch.extend(more)).tokens
    branch.close()
    return tokens


def test_logits_agree(smollm2: LoadedModel, hf_smollm2: Any) -> None:
    async def body() -> None:
        async with engine_of(smollm2) as engine:
            for prompt in [*PROMPTS[:3], STORY * 12]:
                branch = await engine.open(prompt, path=PATH)
                got = torch.tensor(await branch.logits(), dtype=torch.float64)
                with torch.inference_mode():
                    want = hf_smollm2(torch.tensor([list(branch.tokens)])).logits[0, -1].double()
                assert float((got - want).abs().max() / want.abs().max()) < 1e-3
                branch.close()

    asyncio.run(body())


def test_one_at_a_time(smollm2: LoadedModel, wanted: list[list[int]]) -> None:
    async def body() -> None:
        async with engine_of(smollm2) as engine:
            for prompt, want in zip(PROMPTS, wanted, strict=True):
                assert await decode(engine, prompt) == want

    asyncio.run(body())


def test_the_torch_path(smollm2: LoadedModel, wanted: list[list[int]]) -> None:
    async def body() -> None:
        async with engine_of(smollm2, kernels="torch") as engine:
            assert await asyncio.gather(*(decode(engine, p) for p in PROMPTS)) == wanted

    asyncio.run(body())


def test_with_prefixes_shared_and_found_again(
    smollm2: LoadedModel, wanted: list[list[int]]
) -> None:
    async def body() -> None:
        async with engine_of(smollm2) as engine:
            assert await asyncio.gather(*(decode(engine, p) for p in PROMPTS)) == wanted
            before = engine.stats()
            assert before.cached > 4 * 15, "the stories begin alike"
            assert await asyncio.gather(*(decode(engine, p) for p in PROMPTS)) == wanted
            assert engine.stats().prefilled == before.prefilled + len(PROMPTS)

    asyncio.run(body())


def test_prompts_in_small_chunks_beside_decodes(
    smollm2: LoadedModel, wanted: list[list[int]]
) -> None:
    async def body() -> None:
        async with engine_of(smollm2, step_tokens=24) as engine:
            assert await asyncio.gather(*(decode(engine, p) for p in PROMPTS)) == wanted

    asyncio.run(body())


def test_after_forks_and_rewinds_off_page_borders(
    smollm2: LoadedModel, wanted: list[list[int]]
) -> None:
    """Each branch decodes a part, forks, lets one child wander off and come back, and goes on."""

    async def one(engine: LocalEngine, i: int, want: list[int]) -> None:
        branch = await engine.open(PROMPTS[i], path=PATH.child(i))
        length = len(branch.tokens)
        for stage in (5 + i, 11 + i):
            await branch.extend(
                Sampling(max_tokens=length + stage - len(branch.tokens), temperature=0)
            )
            assert list(branch.tokens[length:]) == want[:stage]
            stay, stray = branch.fork(2)
            branch.close()
            await asyncio.gather(
                stay.extend(Sampling(max_tokens=2, temperature=0)),
                stray.extend(Sampling(max_tokens=9, temperature=1.5)),
            )
            stray.rewind(length + stage - 3)
            await stray.append("")
            stay.close()
            branch = stray
        await branch.extend(
            Sampling(max_tokens=TOKENS + length - len(branch.tokens), temperature=0)
        )
        assert list(branch.tokens[length:]) == want

    async def body() -> None:
        async with engine_of(smollm2) as engine:
            chosen = [
                (i, want)
                for i, want in enumerate(wanted)
                if not smollm2.tokenizer.end_tokens & set(want)
            ]
            assert len(chosen) > 10
            await asyncio.gather(*(one(engine, i, want) for i, want in chosen))

    asyncio.run(body())


def test_scores_agree(smollm2: LoadedModel, hf_smollm2: Any) -> None:
    async def body() -> None:
        async with engine_of(smollm2) as engine:
            branch = await engine.open(STORY, path=PATH)
            for scored in await branch.score(["sang.", "repaired the town's only bell", "!"]):
                ids = torch.tensor([[*branch.tokens, *scored.tokens]])
                with torch.inference_mode():
                    logprobs = hf_smollm2(ids).logits[0].log_softmax(-1)
                start = len(branch.tokens) - 1
                want = [float(logprobs[start + i, t]) for i, t in enumerate(scored.tokens)]
                assert scored.logprobs == pytest.approx(want, abs=2e-3)

    asyncio.run(body())
