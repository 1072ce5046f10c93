"""Which tensors a model has, and of what shape, by their Hugging Face names.

Both readers (GGUF, safetensors) hold a file against this table before they read a single weight.
Knows no file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ponder.runtime.errors import InputError
from ponder.runtime.models.config import ModelConfig

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16"]
Shape = tuple[int, ...]

EMBEDDING: Final = "model.embed_tokens.weight"
NORM: Final = "model.norm.weight"
HEAD: Final = "lm_head.weight"
MOST_LAYERS: Final = 4096


def shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor of the model but its heads; `lm_head.weight` only where it is not tied."""
    hidden, inner = config.hidden, config.intermediate
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    layer: dict[str, Shape] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.qkv_bias:
        layer |= {f"self_attn.{n}_proj.bias": (keys,) for n in "kv"}
        layer["self_attn.q_proj.bias"] = (queries,)
    if config.qk_norm:
        layer |= {f"self_attn.{n}_norm.weight": (config.head_dim,) for n in "qk"}
    table: dict[str, Shape] = {EMBEDDING: (config.vocabulary, hidden)}
    for i in range(config.layers):
        table |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    table[NORM] = (hidden,)
    if config.language_head and not config.tied_embeddings:
        table[HEAD] = (config.vocabulary, hidden)
    return table


def check_config(config: ModelConfig, where: Path) -> None:
    """Refuse a shape that no model can have."""
    for field in fields(config):
        value: object = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not 0 < value < float("inf"):
            raise InputError(f"{where}: {field.name} is {value!r}; it must be above 0")
    if config.layers > MOST_LAYERS:  # a damaged count must not become a table of its length
        raise InputError(f"{where}: layers is {config.layers}; at most {MOST_LAYERS} are read")
    if config.heads % config.kv_heads:
        raise InputError(
            f"{where}: {config.heads} heads cannot share {config.kv_heads} key-value heads evenly"
        )
    if config.head_dim % 2:
        raise InputError(f"{where}: head_dim is {config.head_dim}; rotary pairs need an even one")


def check_tensors(
    found: Mapping[str, Shape], wanted: Mapping[str, Shape], where: Path, *, architecture: str
) -> None:
    """Hold a file's tensors against the model's, both by the file's own names."""
    for name in sorted(found.keys() - wanted.keys()):
        raise InputError(
            f"{where}: tensor {name!r} has no place in a plain {architecture} model (experts, "
            "adapters and further biases are not supported)"
        )
    for name, shape in wanted.items():
        if name not in found:
            raise InputError(f"{where}: tensor {name!r} is missing; the file is incomplete")
        if found[name] != shape:
            raise InputError(
                f"{where}: tensor {name!r} has shape {found[name]}; its config says {shape}"
            )


def check_finite(name: str, tensor: torch.Tensor, where: Path) -> None:
    # One pass that allocates nothing: a sum is finite only if every term is. It may also overflow
    # on huge but finite terms, so the exact test has the last word.
    if not tensor.sum().isfinite() and not tensor.isfinite().all():
        raise InputError(
            f"{where}: tensor {name!r} holds NaN or infinity; the file is damaged, get it again"
        )
