"""The weights of a decoder's layers, by their Hugging Face names, joined as the decoders in torch
and in Triton multiply by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ponder.runtime.errors import ModelError
from ponder.runtime.models.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    attention_norm: Tensor
    qkv: Tensor
    """[(heads + 2 * kv_heads) * head_dim, hidden]"""
    qkv_bias: Tensor | None
    head_norm: Tensor | None
    """[heads + kv_heads, head_dim], of queries, then keys."""
    output: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    """[2 * intermediate, hidden]"""
    down: Tensor


class Weights:
    """Weights by name, converted to float32; a missing one is a model file's fault."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def take(self, *names: str) -> Tensor:
        missing = [name for name in names if name not in self._weights]
        if missing:
            raise ModelError(f"the model has no weight {missing[0]!r}; its file is incomplete")
        tensors = [self._weights[name].detach().float() for name in names]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def language_head(config: ModelConfig, source: Weights, embedding: Tensor) -> Tensor | None:
    """[vocabulary, hidden]; None where the model predicts no tokens."""
    if not config.language_head:
        return None
    return embedding if config.tied_embeddings else source.take("lm_head.weight")


def load_layer(source: Weights, config: ModelConfig, index: int) -> Layer:
    prefix = f"model.layers.{index}"
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    bias = [f"{attention}.{name}_proj.bias" for name in "qkv"]
    return Layer(
        attention_norm=source.take(f"{prefix}.input_layernorm.weight"),
        qkv=source.take(*(f"{attention}.{name}_proj.weight" for name in "qkv")),
        qkv_bias=source.take(*bias) if config.qkv_bias else None,
        head_norm=_head_norm(source, config, attention) if config.qk_norm else None,
        output=source.take(f"{attention}.o_proj.weight"),
        mlp_norm=source.take(f"{prefix}.post_attention_layernorm.weight"),
        gate_up=source.take(f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
        down=source.take(f"{mlp}.down_proj.weight"),
    )


def _head_norm(source: Weights, config: ModelConfig, attention: str) -> Tensor:
    query, key = (source.take(f"{attention}.{name}_norm.weight") for name in "qk")
    return torch.cat((query.expand(config.heads, -1), key.expand(config.kv_heads, -1)))
