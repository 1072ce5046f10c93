"""The Llama decoder and its kin (Qwen2, Qwen3) in torch: runs one step plan against KV memory.

Pre-norm blocks with grouped-query attention, rotary positions and SwiGLU (Touvron et al., arXiv
2302.13971); where the config says so, biases on queries, keys and values (Qwen2, arXiv 2407.10671)
or a norm on each head's query and key (Qwen3, arXiv 2505.09388). Weights and sums are float32.
Knows nothing of branches, sampling or text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ponder.runtime.errors import ModelError
from ponder.runtime.kernels.arrays import tensor_of
from ponder.runtime.kernels.reference import merge, partial_attention
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.models.families import require_family
from ponder.runtime.models.rotary import rotary_table, rotate, score_scale, turn
from ponder.runtime.runners.api import Ints
from ponder.runtime.runners.memory import KVMemory
from ponder.runtime.runners.plan import Block, StepPlan
from ponder.runtime.runners.weights import Layer, Weights, language_head, load_layer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reads:
    """A block's index tensors, made once a step for all layers."""

    queries: Tensor
    """[items * queries]"""
    places: Tensor
    """[kv_heads * items * places], into memory flattened over heads."""
    limits: Tensor | None
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Turns:
    """Cosines and sines of a step, [.., 1, head_dim / 2] each, made once for all layers."""

    rows: tuple[Tensor, Tensor]
    keys: tuple[Tensor, Tensor] | None
    """None where keys turn as their rows do."""
    turned: Tensor
    """Rows with more queries, one each time."""
    more: tuple[Tensor, Tensor]


class Llama:
    """Weights ready to run."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
        require_family(config.architecture)
        self.config = config
        source = Weights(weights)
        self._embedding = source.take("model.embed_tokens.weight")
        self._head = language_head(config, source, self._embedding)
        self._norm = source.take("model.norm.weight")
        self._layers = [load_layer(source, config, i) for i in range(config.layers)]
        self._cosines, self._sines = rotary_table(config)
        self._scale = score_scale(config)

    def hidden(self, plan: StepPlan, memory: KVMemory) -> Tensor:
        """Run the step; returns the normed last hidden states of the wanted rows, [wanted,
        hidden].
        """
        turns = self._turns(plan)
        writes = tensor_of(plan.writes)
        reads = [self._reads(block, memory) for block in plan.blocks]
        parts = tensor_of(plan.merge)
        x = functional.embedding(tensor_of(plan.tokens), self._embedding)
        for i, layer in enumerate(self._layers):
            keys, values = memory.keys[i], memory.values[i]
            query = self._project(
                self._normed(x, layer.attention_norm), layer, turns, writes, keys, values
            )
            attended = self._attend(query, keys, values, reads, parts)
            x = x + functional.linear(attended, layer.output)
            gate, up = functional.linear(self._normed(x, layer.mlp_norm), layer.gate_up).chunk(
                2, -1
            )
            x = x + functional.linear(functional.silu(gate).mul_(up), layer.down)
        return self._normed(x[tensor_of(plan.wanted)], self._norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocabulary] from [rows, hidden]."""
        if self._head is None:
            raise ModelError("logits of a model without a head over the vocabulary: an engine bug")
        return functional.linear(hidden, self._head)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.config.norm_epsilon)

    def _project(
        self,
        x: Tensor,
        layer: Layer,
        turns: _Turns,
        writes: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> Tensor:
        """Write the rows' keys and values; returns all queries [kv_heads, queries, group * dim]."""
        heads, kv_heads, width = self.config.heads, self.config.kv_heads, self.config.head_dim
        qkv = functional.linear(x, layer.qkv, layer.qkv_bias)
        qkv = qkv.view(len(x), heads + 2 * kv_heads, width)
        qk = qkv[:, : heads + kv_heads]
        if layer.head_norm is not None:
            qk = functional.rms_norm(qk, (width,), None, self.config.norm_epsilon) * layer.head_norm
        turned = rotate(qk, *turns.rows)
        key = turned[:, heads:] if turns.keys is None else rotate(qk[:, heads:], *turns.keys)
        keys.index_copy_(1, writes, key.transpose(0, 1))
        values.index_copy_(1, writes, qkv[:, heads + kv_heads :].transpose(0, 1))
        query = turned[:, :heads]
        if len(turns.turned):
            query = torch.cat((query, rotate(qk[turns.turned, :heads], *turns.more)))
        return query.reshape(len(query), kv_heads, -1).transpose(0, 1).contiguous()

    def _turns(self, plan: StepPlan) -> _Turns:
        # The positions of the queries beyond the rows' own may lie outside the table.
        return _Turns(
            rows=self._table(plan.positions),
            keys=None if plan.homes is None else self._table(plan.homes),
            turned=tensor_of(plan.turned),
            more=turn(self.config, tensor_of(plan.turns)),
        )

    def _table(self, positions: Ints) -> tuple[Tensor, Tensor]:
        rows = tensor_of(positions)
        return self._cosines[rows][:, None], self._sines[rows][:, None]

    def _attend(
        self, query: Tensor, keys: Tensor, values: Tensor, reads: list[_Reads], parts: Tensor
    ) -> Tensor:
        """[rows, heads * head_dim]"""
        heads, kv_heads, width = self.config.heads, self.config.kv_heads, self.config.head_dim
        group = heads // kv_heads
        keys, values = keys.view(-1, width), values.view(-1, width)
        outputs: list[Tensor] = []
        lses: list[Tensor] = []
        for read in reads:
            items, queries = read.shape
            output, lse = partial_attention(
                query.index_select(1, read.queries).view(kv_heads, items, queries, group, width),
                keys.index_select(0, read.places).view(kv_heads, items, -1, width),
                values.index_select(0, read.places).view(kv_heads, items, -1, width),
                read.limits,
                self._scale,
            )
            outputs.append(output.flatten(1, 2))
            lses.append(lse.flatten(1, 2))
        merged = _gather(outputs, lses, parts)
        return merged.transpose(0, 1).reshape(-1, heads * width)

    def _reads(self, block: Block, memory: KVMemory) -> _Reads:
        items, queries = block.queries.shape
        places = block.slots.shape[1]
        slots = tensor_of(block.slots).reshape(-1)
        heads = torch.arange(self.config.kv_heads)[:, None] * memory.keys.shape[2]
        everything = bool((block.limits == places).all())
        return _Reads(
            queries=tensor_of(block.queries).reshape(-1).clamp_min(0),
            places=(heads + slots).reshape(-1),
            limits=None if everything else tensor_of(block.limits),
            shape=(items, queries),
        )


def _gather(outputs: list[Tensor], lses: list[Tensor], parts: Tensor) -> Tensor:
    """Collect each row's partial results and merge them: [kv_heads, rows, group, head_dim]."""
    rows, width = parts.shape
    if width == 1:
        return torch.cat(outputs, dim=1).index_select(1, parts.view(-1))
    outputs.append(torch.zeros_like(outputs[0][:, :1]))
    lses.append(torch.full_like(lses[0][:, :1], -torch.inf))
    output = torch.cat(outputs, dim=1).index_select(1, parts.view(-1))
    lse = torch.cat(lses, dim=1).index_select(1, parts.view(-1))
    heads, _, group, dim = output.shape
    output, lse = output.view(heads, rows, width, group, dim), lse.view(heads, rows, width, group)
    return merge(output, lse)[0]
