"""The GPU path: a step in Triton kernels, KV in pages on the device, draws there too.

What is promised. A row's hidden states and logits are the same to the bit alone and in company,
before and after a fork, and however a prompt was cut into chunks (DESIGN 4.1): every sum's order is
fixed by shapes that the row itself brings, matrix products included (`kernels/gpu/linear.py` says
why that is not cuBLAS). What is not: equal bits on two kinds of GPU, or beside the CPU paths; and
draws add up probabilities in float64 by torch's kernels, whose order may depend on the number of
rows, so a draw within 1e-13 of the border of two tokens may fall to either.

One copy a step brings all its numbers to the device, and after it nothing on the host depends on
values there until draws are read: that is the seam for CUDA graphs, which are not made yet.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from ponder.runtime.errors import InputError, ModelError, PoolExhausted
from ponder.runtime.kernels.arrays import tensor_of
from ponder.runtime.kernels.gpu.attention import members_a_tile
from ponder.runtime.kernels.gpu.parts import Reads
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.runners.api import PAGE, StepTime, Work
from ponder.runtime.runners.memory import host_kv_bytes
from ponder.runtime.runners.sampler import Draw, Rule, draw
from ponder.runtime.runners.tile_plan import Numbers, TilePlan, make_tiles
from ponder.runtime.runners.triton_llama import DeviceStep, TritonLlama

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ALIGNED = 4
"""Numbers: arrays start at multiples of 16 bytes, or kernels would be compiled for each way to lie.
"""
SHARE = 0.85
"""Of the device's free memory, given to KV once the weights are there; the rest is for a step's own
tensors.
"""


class TritonRunner:
    """A `Runner`. See the module. On a GPU, `time` counts what the host waits for: launches, and in
    sampling the step itself.
    """

    torch_threads = 1
    shifts = False
    """Its kernels read shifted places, but its table of angles ends with the context, and a query
    read at a shift may stand beyond it.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        *,
        weight_format: str = "float32",
        device: str = "cuda",
    ) -> None:
        """Bring the weights to the device.

        Args:
            config: of a known family.
            weights: by their Hugging Face names.
            weight_format: "float32" or "bfloat16": of weights, activations and KV.
            device: a CUDA device, or "cpu" in Triton's interpreter.
        """
        if weight_format not in DTYPES:
            raise InputError(
                f"weight format {weight_format!r} has no GPU kernels yet; use one of "
                f"{', '.join(DTYPES)}, or kernels='native'"
            )
        self.config = config
        self.time = StepTime()
        self._dtype = DTYPES[weight_format]
        self._device = torch.device(device)
        kind = torch.cuda.get_device_name(device) if device != "cpu" else "interpreted"
        self.description = f"{weight_format}, triton, {kind}"
        self._model = TritonLlama(config, weights, device=self._device, dtype=self._dtype)
        self._tile = members_a_tile(config.heads // config.kv_heads)
        self._no_trees = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._memory: Tensor | None = None

    def page_bytes(self) -> int:
        config = self.config
        return 2 * self._dtype.itemsize * PAGE * config.layers * config.kv_heads * config.head_dim

    def kv_bytes(self) -> int:
        if self._device.type == "cpu":
            return host_kv_bytes()
        return int(SHARE * torch.cuda.mem_get_info(self._device)[0])

    def reserve(self, pages: int) -> None:
        config = self.config
        shape = (2, config.layers, pages, config.kv_heads, PAGE, config.head_dim)
        self._memory = None
        try:
            self._memory = torch.empty(shape, dtype=self._dtype, device=self._device)
        except torch.OutOfMemoryError as error:
            raise PoolExhausted(
                f"{pages!r} KV pages need {pages * self.page_bytes()} bytes, more than the GPU "
                "has left; open the engine with fewer pages"
            ) from error

    def hidden(self, works: Sequence[Work]) -> Tensor:
        if self._memory is None:
            raise ModelError("a step before `reserve`: a bug in the engine")
        start = time.perf_counter()
        plan = make_tiles(works, tile=self._tile, kv_heads=self.config.kv_heads)
        _check(plan, self.config, places=self._memory.shape[2] * PAGE)
        planned = time.perf_counter()
        hidden = self._model.hidden(self._upload(plan), self._memory)
        self.time.other += planned - start
        self.time.linear += time.perf_counter() - planned
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        start = time.perf_counter()
        logits = self._model.logits(hidden)
        self.time.head += time.perf_counter() - start
        return logits

    def draw(self, logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
        start = time.perf_counter()
        draws = draw(logits, rules, uniforms)
        self.time.sampling += time.perf_counter() - start
        return draws

    def _upload(self, plan: TilePlan) -> DeviceStep:
        """All arrays in one copy."""
        arrays: dict[str, Numbers] = {f.name: getattr(plan, f.name) for f in fields(plan)}
        padded = [
            np.append(a.ravel(), np.zeros(-a.size % ALIGNED, np.int32)) for a in arrays.values()
        ]
        packed = tensor_of(np.concatenate(padded))
        if self._device.type == "cuda":
            packed = packed.pin_memory()
        packed = packed.to(self._device, non_blocking=True)
        starts = np.cumsum([0, *(len(a) for a in padded[:-1])])
        tensors = {
            name: packed[int(start) :][: array.size].view(array.shape)
            for start, (name, array) in zip(starts, arrays.items(), strict=True)
        }
        for_reads = {name: tensors.pop(name) for name in list(tensors) if name in _READS}
        reads = Reads(**for_reads, trees=self._no_trees, has_trees=False)
        return DeviceStep(**tensors, reads=reads)


_READS = {field.name for field in fields(Reads)}


def _check(plan: TilePlan, config: ModelConfig, places: int) -> None:
    """On the device, a number out of range would end the process's use of the GPU."""
    for name, numbers, least, end in (
        ("token", plan.tokens, 0, config.vocabulary),
        ("place", plan.places, -1, places),
        ("written place", plan.writes, 0, places),
        ("position", plan.homes, 0, config.context_length),
        ("angle", plan.query_angles, 1 - config.context_length, config.context_length),
    ):
        if numbers.min() < least or numbers.max() >= end:
            raise ModelError(
                f"a {name} of a step is out of range: {numbers.min()} to {numbers.max()}, where "
                f"{least} to {end - 1} are allowed; a bug in the engine"
            )
