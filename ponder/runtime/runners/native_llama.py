"""The Llama decoder and its kin as one native call a step: packs the weights once, then hands over
addresses.

A row's results are bit-equal whatever else is in the step, however a prompt is cut into chunks, and
with one thread or many (DESIGN 4.1). KV is bfloat16 unless weights are float32. Knows nothing of
branches, sampling settings or text.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal
from weakref import finalize

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ponder.runtime.errors import ModelError, PoolExhausted
from ponder.runtime.kernels import native
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.models.rotary import rotary_frequencies, rotary_table, score_scale
from ponder.runtime.runners.api import BLOCK, PAGE, Ints, StepTime, Work
from ponder.runtime.runners.memory import host_kv_bytes
from ponder.runtime.runners.sampler import FORBIDDEN, NOT_FINITE, Draw, Rule, biased
from ponder.runtime.runners.weights import Weights

WeightFormat = Literal["float32", "bfloat16", "int8", "int4"]
_ALIGNMENT = 64
_FAULTS = {native.FORBIDDEN: FORBIDDEN, native.NOT_FINITE: NOT_FINITE}


class NativeLlama:
    """A `Runner`. See the module."""

    torch_threads = 1
    shifts = True

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        *,
        weight_format: WeightFormat,
        threads: int,
    ) -> None:
        """Pack the weights for this machine's kernels.

        Args:
            config: a shape that `native.runs` allows.
            weights: by their Hugging Face names.
            weight_format: what linear weights are rounded to. "int8" and "int4" do so in groups of
                32 along the inner dimension, and round activations to 8 bits in the same groups;
                with "int4" the head is int8.
            threads: that share a step, the caller's among them.
        """
        self.config = config
        self.time = StepTime()
        self.weight_format = weight_format
        isa = native.chosen_instruction_set()
        self.description = f"{weight_format}, native {isa}"
        self._doors = native.loaded()
        self._model = ctypes.c_void_p()
        answer = self._doors.ponder_open(
            native_shape(config), native.FORMATS[weight_format], isa.encode(), threads, self._model
        )
        native.check(answer, "opening the native step")
        finalize(self, self._doors.ponder_close, self._model.value)
        self._pack(Weights(weights))
        self.memory: tuple[npt.NDArray[np.uint8], ...] = ()
        """The bytes of keys and of values; empty before `reserve`."""
        self._pages = 0
        # Kept, since fresh memory of this size costs a third of the product in page faults.
        self._logits = torch.empty(0, config.vocabulary)

    def page_bytes(self) -> int:
        width = 4 if self.weight_format == "float32" else 2
        return 2 * width * PAGE * self.config.layers * self.config.kv_heads * self.config.head_dim

    def kv_bytes(self) -> int:
        return host_kv_bytes()

    def reserve(self, pages: int) -> None:
        half = pages * self.page_bytes() // 2
        try:
            self.memory = (_aligned(half), _aligned(half))
        except MemoryError as error:
            raise PoolExhausted(
                f"{pages!r} KV pages need {2 * half} bytes, more than the system gives; open the "
                "engine with fewer pages"
            ) from error
        self._pages = pages

    def hidden(self, works: Sequence[Work]) -> Tensor:
        if not self.memory:
            raise ModelError("a step before `reserve`: a bug in the engine")
        tokens = np.concatenate([np.asarray(work.tokens, np.int64) for work in works])
        wanted = _wanted(works)
        hidden = torch.empty(len(wanted), self.config.hidden)
        held: list[Ints] = []
        step = native.Step(
            tokens=tokens.ctypes.data,
            works=(native.Work * len(works))(*(_native_work(work, held) for work in works)),
            work_count=len(works),
            wanted=wanted.ctypes.data,
            wanted_count=len(wanted),
            keys=self.memory[0].ctypes.data,
            values=self.memory[1].ctypes.data,
            pages=self._pages,
            hidden=hidden.data_ptr(),
        )
        start = time.perf_counter()
        answer = self._doors.ponder_step(self._model, step)
        seconds = time.perf_counter() - start
        native.check(answer, "a native step")
        linear, attention = (step.nanoseconds[i] / 1e9 for i in range(2))
        self.time.linear += linear
        self.time.attention += attention
        self.time.other += seconds - linear - attention
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        hidden = hidden.float().contiguous()
        if len(self._logits) < len(hidden):
            self._logits = torch.empty(len(hidden), self.config.vocabulary)
        logits = self._logits[: len(hidden)]
        start = time.perf_counter()
        answer = self._doors.ponder_head(
            self._model, hidden.data_ptr(), len(hidden), logits.data_ptr()
        )
        self.time.head += time.perf_counter() - start
        native.check(answer, "native logits")
        return logits

    def draw(self, logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
        logits = logits.contiguous()
        start = time.perf_counter()
        draws: list[Draw] = []
        # Rows with a bias need a copy, so the others are drawn apart from them.
        for _, group in groupby(range(len(rules)), lambda row: len(rules[row].biased) > 0):
            rows = list(group)
            part = slice(rows[0], rows[-1] + 1)
            own = biased(logits[part], rules[part])
            draws += self._draw(logits[part], own, rules[part], uniforms[part])
        self.time.sampling += time.perf_counter() - start
        return draws

    def _draw(
        self, logits: Tensor, shaped: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]
    ) -> list[Draw]:
        size = logits.shape[-1]
        draws = (native.Draw * len(rules))(
            *(_native_draw(rule, u, size) for rule, u in zip(rules, uniforms, strict=True))
        )
        answer = self._doors.ponder_draw(
            self._model, logits.data_ptr(), shaped.data_ptr(), len(rules), draws
        )
        native.check(answer, "native sampling")
        return [
            Draw(fault=_FAULTS[d.token]) if d.token < 0 else Draw(token=d.token, logprob=d.logprob)
            for d in draws
        ]

    def _pack(self, source: Weights) -> None:
        config = self.config
        embedding = source.take("model.embed_tokens.weight")
        cosines, sines = rotary_table(config)
        for kind, tensor in (
            ("embedding", embedding),
            ("norm", source.take("model.norm.weight")),
            ("cosines", cosines),
            ("sines", sines),
            ("frequencies", rotary_frequencies(config)),
        ):
            self._take(kind, 0, tensor)
        if config.language_head:
            tied = config.tied_embeddings
            self._take("head", 0, embedding if tied else source.take("lm_head.weight"))
        for i in range(config.layers):
            for kind, names in _layer_of(config).items():
                self._take(kind, i, source.take(*(f"model.layers.{i}.{name}" for name in names)))

    def _take(self, kind: str, layer: int, tensor: Tensor) -> None:
        # The reference must outlive the call: `contiguous` may copy.
        whole = tensor.contiguous()
        answer = self._doors.ponder_take(
            self._model, native.TENSORS.index(kind), layer, whole.data_ptr()
        )
        native.check(answer, f"packing {kind!r}")


_LAYER = {
    "attention_norm": ("input_layernorm.weight",),
    "projection": tuple(f"self_attn.{name}_proj.weight" for name in "qkv"),
    "output": ("self_attn.o_proj.weight",),
    "mlp_norm": ("post_attention_layernorm.weight",),
    "gate": ("mlp.gate_proj.weight",),
    "up": ("mlp.up_proj.weight",),
    "down": ("mlp.down_proj.weight",),
}


def _layer_of(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    layer = dict(_LAYER)
    if config.qkv_bias:
        layer["bias"] = tuple(f"self_attn.{name}_proj.bias" for name in "qkv")
    if config.qk_norm:
        layer["query_norm"] = ("self_attn.q_norm.weight",)
        layer["key_norm"] = ("self_attn.k_norm.weight",)
    return layer


def native_shape(config: ModelConfig) -> native.Shape:
    return native.Shape(
        layers=config.layers,
        hidden=config.hidden,
        intermediate=config.intermediate,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocabulary=config.vocabulary,
        positions=config.context_length,
        epsilon=config.norm_epsilon,
        scale=score_scale(config),
    )


def _wanted(works: Sequence[Work]) -> npt.NDArray[np.int64]:
    rows: list[int] = []
    end = 0
    for work in works:
        end += len(work.tokens)
        rows += range(end - work.wanted, end)
    return np.asarray(rows, np.int64)


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    """Zeros that begin at a cache line; the system hands memory out as it is first written."""
    room = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size]


def _native_work(work: Work, held: list[Ints]) -> native.Work:
    """Its addresses are valid as long as `held`."""
    count, length = len(work.tokens), len(work.slots)
    return native.Work(
        slots=_address(work.slots, length, held),
        positions=_address(work.positions, count, held),
        homes=_address(work.homes, count, held),
        shifts=_address(work.shifts, -(-length // BLOCK), held),
        length=length,
        count=count,
    )


def _address(numbers: Ints | None, count: int, held: list[Ints]) -> int | None:
    if numbers is None:
        return None
    if len(numbers) != count:
        raise ModelError(f"a work has {len(numbers)} numbers for {count}: a bug in the engine")
    # Views keep their places in one run of memory; a copy is only made where one does not.
    held.append(np.ascontiguousarray(numbers, np.int64))
    return held[-1].ctypes.data


def _native_draw(rule: Rule, uniform: float, vocabulary: int) -> native.Draw:
    """It points into the rule's mask, which must outlive it."""
    if rule.allowed is not None and rule.allowed.shape != ((vocabulary + 7) // 8,):
        raise ModelError(
            f"a mask has {rule.allowed.shape!r} bytes for {vocabulary!r} tokens: an engine's bug"
        )
    return native.Draw(
        allowed=None if rule.allowed is None else rule.allowed.ctypes.data,
        temperature=rule.temperature,
        min_p=rule.min_p,
        top_p=rule.top_p,
        top_k=rule.top_k or 0,
        uniform=uniform,
    )
