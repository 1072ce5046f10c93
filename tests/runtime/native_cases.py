"""Small models of odd shapes, and runners of them on each instruction set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny_llama import CONFIG, tiny
from torch import Tensor

from ponder.runtime.kernels import native
from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.runners.api import PAGE, Runner, Work
from ponder.runtime.runners.native_llama import NativeLlama, WeightFormat

Slots = npt.NDArray[np.int64]

SHAPES: dict[str, ModelConfig] = {
    "three queries a head": replace(
        CONFIG, hidden=42, intermediate=72, heads=6, kv_heads=2, head_dim=32, vocabulary=259
    ),
    "one query a head": replace(
        CONFIG, hidden=100, intermediate=300, heads=4, kv_heads=4, head_dim=64, vocabulary=301
    ),
    "four queries a head, tied": replace(
        CONFIG,
        hidden=80,
        intermediate=72,
        heads=8,
        kv_heads=2,
        head_dim=128,
        vocabulary=1001,
        tied_embeddings=True,
    ),
    "narrow heads": replace(CONFIG, head_dim=16, layers=1),
}
SETS = (
    *("avx512_bf16", "avx512", "avx2", "neon_dotprod", "neon", "portable"),
    *("amx", "amx_emulated"),
)
FORMATS: tuple[WeightFormat, ...] = ("float32", "bfloat16", "int8", "int4")
PAGES = 600


def require(isa: str) -> None:
    if not native.instruction_sets():
        pytest.skip("the native step was not built")
    if isa and isa not in native.instruction_sets():
        pytest.skip(f"this machine has no {isa}")


def native_runner(
    model: LoadedModel, weight_format: WeightFormat = "float32", threads: int = 2
) -> NativeLlama:
    runner = NativeLlama(model.config, model.weights, weight_format=weight_format, threads=threads)
    runner.reserve(PAGES)
    return runner


def model_of(shape: str) -> LoadedModel:
    return tiny(SHAPES[shape])


def text(length: int, seed: int, vocabulary: int = 250) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, vocabulary, length)]


def pages(first: int, tokens: int) -> Slots:
    """Places of `tokens` tokens in pages from `first` on."""
    return np.arange(first * PAGE, first * PAGE + tokens)


def run(runner: Runner, tokens: Sequence[int], slots: Slots, cuts: Sequence[int] = ()) -> Tensor:
    """Logits of every token, run in chunks that end at `cuts` and the end."""
    parts: list[Tensor] = []
    start = 0
    for end in (*cuts, len(tokens)):
        work = Work(tokens=tokens[start:end], slots=slots[:end], wanted=end - start)
        parts.append(runner.logits(runner.hidden([work])).clone())
        start = end
    return torch.cat(parts)
