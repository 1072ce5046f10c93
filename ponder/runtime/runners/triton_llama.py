"""The Llama decoder and its kin on the device, in the kernels of `kernels/gpu`: runs one step
against KV pages.

The same decoder as `torch_llama.py`, in other arithmetic: weights, activations and KV are of one
type, the residual stream and all sums are float32. Every operation that sums has an order of its
own, so a row's result does not depend on the rows beside it. Knows nothing of branches or sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from ponder.runtime.errors import ModelError
from ponder.runtime.kernels.gpu.attention import attend
from ponder.runtime.kernels.gpu.linear import linear
from ponder.runtime.kernels.gpu.norm import norm_heads, normed
from ponder.runtime.kernels.gpu.parts import Reads, merge
from ponder.runtime.kernels.gpu.rotation import place_keys, turn_queries
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.models.families import require_family
from ponder.runtime.models.rotary import rotary_table, score_scale
from ponder.runtime.runners.weights import Layer, Weights, language_head, load_layer

MATRICES = ("qkv", "output", "gate_up", "down")
"""Weights of the device's type; norms and biases stay float32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceStep:
    """A `TilePlan` on the device; int32."""

    tokens: Tensor
    homes: Tensor
    writes: Tensor
    query_rows: Tensor
    query_angles: Tensor
    wanted: Tensor
    reads: Reads


class TritonLlama:
    """Weights on a device, ready to run."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        require_family(config.architecture)
        self.config = config
        self._dtype = dtype
        source = Weights(weights)
        self._embedding = source.take("model.embed_tokens.weight").to(device, dtype)
        head = language_head(config, source, self._embedding)
        self._head = None if head is None else head.to(device, dtype)
        self._norm = source.take("model.norm.weight").to(device)
        self._layers = [
            _moved(load_layer(source, config, i), device, dtype) for i in range(config.layers)
        ]
        cosines, sines = rotary_table(config)
        self._table = (cosines.to(device), sines.to(device))
        self._scale = score_scale(config)

    def hidden(self, step: DeviceStep, memory: Tensor) -> Tensor:
        """The normed last hidden states of the wanted rows, float32 [wanted, hidden].

        Args:
            step: what to compute.
            memory: [2 (keys, values), layers, pages, kv_heads, PAGE, head_dim]; the step writes its
                own places.
        """
        x = functional.embedding(step.tokens, self._embedding).float()
        for i, layer in enumerate(self._layers):
            x = x + linear(
                self._attended(x, layer, step, (memory[0, i], memory[1, i])),
                layer.output,
                None,
                torch.float32,
            )
            x = x + linear(self._gated(x, layer), layer.down, None, torch.float32)
        last = x.index_select(0, step.wanted)
        return normed(last, self._norm, self.config.norm_epsilon, torch.float32)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 [rows, vocabulary] from [rows, hidden]."""
        if self._head is None:
            raise ModelError("logits of a model without a head over the vocabulary: an engine bug")
        return linear(hidden.to(self._dtype), self._head, None, torch.float32)

    def _attended(
        self, x: Tensor, layer: Layer, step: DeviceStep, memory: tuple[Tensor, Tensor]
    ) -> Tensor:
        """[rows, heads * head_dim]"""
        config, rows = self.config, len(x)
        x = normed(x, layer.attention_norm, config.norm_epsilon, self._dtype)
        qkv = linear(x, layer.qkv, layer.qkv_bias, self._dtype)
        qkv = qkv.view(rows, config.heads + 2 * config.kv_heads, config.head_dim)
        if layer.head_norm is not None:
            norm_heads(qkv, layer.head_norm, config.norm_epsilon)
        place_keys(qkv, step.homes, step.writes, self._table, memory)
        queries = turn_queries(
            qkv, config.kv_heads, step.query_rows, step.query_angles, self._table
        )
        parts = attend(queries, *memory, step.reads, self._scale)
        return merge(parts, step.reads, self._dtype)[0].view(rows, -1)

    def _gated(self, x: Tensor, layer: Layer) -> Tensor:
        x = normed(x, layer.mlp_norm, self.config.norm_epsilon, self._dtype)
        gate, up = linear(x, layer.gate_up, None, self._dtype).chunk(2, -1)
        return functional.silu(gate) * up


def _moved(layer: Layer, device: torch.device, dtype: torch.dtype) -> Layer:
    moved: dict[str, Tensor] = {}
    for field in fields(layer):
        tensor: Tensor | None = getattr(layer, field.name)
        if tensor is not None:
            moved[field.name] = tensor.to(device, dtype if field.name in MATRICES else None)
    return replace(layer, **moved)
