"""The engine's step in Triton against torch, and what the engine draws with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from gpu_cases import DEVICE
from native_cases import pages, run, text
from tiny_llama import CONFIG, tiny

from ponder.runtime import BranchPath, InputError, ModelError, Sampling, Segment
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models.config import LoadedModel, ModelConfig, RopeScaling
from ponder.runtime.runners.api import Work
from ponder.runtime.runners.choice import choose_runner
from ponder.runtime.runners.torch_llama import Llama
from ponder.runtime.runners.torch_runner import TorchRunner
from ponder.runtime.runners.triton_runner import TritonRunner

SMALL = replace(CONFIG, layers=1, heads=3, kv_heads=1, hidden=36, head_dim=16)
YARN = RopeScaling(kind="yarn", divisors=(1.0, 2.0, 4.0, 4.0), amplitude=1.2)
FAMILIES = {
    "llama": replace(CONFIG, tied_embeddings=True),
    "llama yarn": replace(CONFIG, rope_scaling=YARN),
    "qwen2": replace(CONFIG, architecture="qwen2", qkv_bias=True, heads=4, kv_heads=4),
    "qwen3": replace(CONFIG, architecture="qwen3", qk_norm=True, heads=8, kv_heads=1),
}
PATH = BranchPath(3, ("triton",))


def model_of(config: ModelConfig) -> LoadedModel:
    """A tiny Llama, with biases and head norms where the family has them."""
    model = tiny(replace(config, architecture="llama"), ends=False)
    weights = dict(model.weights)
    chance = torch.Generator().manual_seed(1)
    for i in range(config.layers):
        for name in "qkv" if config.qkv_bias else "":
            size = len(weights[f"model.layers.{i}.self_attn.{name}_proj.weight"])
            bias = torch.randn(size, generator=chance)
            weights[f"model.layers.{i}.self_attn.{name}_proj.bias"] = bias
        for name in "qk" if config.qk_norm else "":
            norm = 1 + 0.3 * torch.randn(config.head_dim, generator=chance)
            weights[f"model.layers.{i}.self_attn.{name}_norm.weight"] = norm
    return replace(model, config=config, weights=weights)


def runner_of(model: LoadedModel, weight_format: str = "float32") -> TritonRunner:
    runner = TritonRunner(
        model.config, model.weights, weight_format=weight_format, device=DEVICE.type
    )
    runner.reserve(40)
    return runner


@pytest.mark.parametrize("family", FAMILIES)
def test_it_computes_what_torch_computes(family: str) -> None:
    model = model_of(FAMILIES[family])
    reference = TorchRunner(Llama(model.config, model.weights))
    reference.reserve(40)
    tokens = text(30, seed=1)
    want = run(reference, tokens, pages(3, 30), [14, 15])
    got = run(runner_of(model), tokens, pages(3, 30), [14, 15]).cpu()
    assert float((got - want).abs().max() / want.abs().max()) < 1e-4
    rounded = run(runner_of(model, "bfloat16"), tokens, pages(3, 30), [14, 15]).cpu()
    assert 0 < float((rounded - want).norm() / want.norm()) < 0.06


def test_chunks_company_and_old_pages_change_no_bit() -> None:
    model = model_of(SMALL)
    runner = runner_of(model)
    tokens = text(70, seed=2)
    want = run(runner, tokens, pages(0, 70))
    assert runner._memory is not None
    runner._memory[:, :, 10:].fill_(torch.nan)  # what other branches left behind
    assert torch.equal(run(runner, tokens, pages(10, 70), [33, 68, 69]), want)
    stranger = Work(tokens=text(9, 5), slots=pages(20, 9), wanted=0)
    fork = np.concatenate([pages(0, 69), pages(31, 1)])
    works = [stranger, *(Work(tokens=tokens[69:], slots=s, wanted=1) for s in (pages(0, 70), fork))]
    for row in runner.logits(runner.hidden(works)):
        assert torch.equal(row, want[-1])


@pytest.mark.parametrize(
    "work",
    [
        Work(tokens=[258], slots=pages(0, 1), wanted=1),
        Work(tokens=[-1], slots=pages(0, 1), wanted=1),
        Work(tokens=[1], slots=pages(40, 1), wanted=1),
        Work(tokens=[1], slots=pages(0, 513), wanted=1),
    ],
    ids=["token", "negative token", "place", "position"],
)
def test_numbers_out_of_range_are_refused(work: Work) -> None:
    with pytest.raises(ModelError, match="out of range"):
        runner_of(model_of(SMALL)).hidden([work])


async def drawn(which: range, step_tokens: int) -> dict[int, Segment]:
    """Branch i of a few: a common prompt with an end of its own, a draw, a fork, a draw."""
    engine = LocalEngine(model_of(SMALL), pages=60, step_tokens=step_tokens, kernels="triton")

    async def one(i: int) -> Segment:
        branch = await engine.open("a common beginning" + "x" * i, path=PATH.child(i))
        await branch.extend(Sampling(max_tokens=2))
        (child,) = branch.fork(1)
        branch.rewind(len(branch.tokens) - 1)
        return await child.extend(Sampling(max_tokens=5, top_p=0.95, confidence=(3, 0)[i % 2]))

    try:
        return dict(zip(which, await asyncio.gather(*(one(i) for i in which)), strict=True))
    finally:
        await engine.close()


def test_what_a_branch_draws_is_its_own() -> None:
    async def body() -> None:
        crowd = await drawn(range(4), 512)
        for others in (await drawn(range(2, 3), 512), await drawn(range(4), 7)):
            for i, segment in others.items():
                assert (segment.tokens, segment.logprobs) == (crowd[i].tokens, crowd[i].logprobs)
                assert segment.confidences == crowd[i].confidences
                assert bool(segment.confidences) == (i % 2 == 0)
        assert len({segment.tokens for segment in crowd.values()}) == 4

    asyncio.run(body())


def test_choice_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(SMALL)
    assert "triton" in choose_runner(model, kernels="triton", threads=1).description
    with pytest.raises(InputError, match="'int8' has no GPU kernels yet; use one of float32"):
        choose_runner(model, kernels="triton", weight_format="int8", threads=1)
    if DEVICE.type == "cpu":
        monkeypatch.delenv("TRITON_INTERPRET")
        with pytest.raises(InputError, match="need a GPU, but torch sees no CUDA device"):
            choose_runner(model, kernels="triton", threads=1)
