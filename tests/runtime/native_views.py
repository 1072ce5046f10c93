"""Views of moved text for the native step's tests: random models, works with holes and shifts, and
a dense decoder that knows every key's position in the view and rotates it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from native_cases import PAGES
from tiny_llama import CONFIG, ByteTokenizer
from torch import Tensor
from torch.nn import functional

from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.models.rope_scaling import Basis, yarn
from ponder.runtime.models.rotary import score_scale
from ponder.runtime.runners.api import BLOCK, PAGE, Ints, Work

_WIDE = replace(CONFIG, head_dim=32, hidden=40, intermediate=52, vocabulary=131)
_BASIS = Basis(theta=CONFIG.rope_theta, head_dim=32, where="here")
CONFIGS: dict[str, ModelConfig] = {
    "three queries a head": replace(_WIDE, heads=6, kv_heads=2),
    "one query a head": replace(_WIDE, heads=3, kv_heads=3, head_dim=48),
    "biases": replace(_WIDE, heads=7, kv_heads=1, head_dim=16, qkv_bias=True),
    "head norms, yarn": replace(
        _WIDE, heads=4, kv_heads=2, qk_norm=True, rope_scaling=yarn(_BASIS, factor=4, original=64)
    ),
}


def random_model(config: ModelConfig) -> LoadedModel:
    generator = torch.Generator().manual_seed(3)

    def noise(*shape: int, centre: float = 0.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2 + centre

    hidden, inner, width = config.hidden, config.intermediate, config.head_dim
    heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
    weights = {
        "model.embed_tokens.weight": noise(config.vocabulary, hidden),
        "lm_head.weight": noise(config.vocabulary, hidden),
        "model.norm.weight": noise(hidden, centre=1.0),
    }
    for i in range(config.layers):
        layer = {
            "input_layernorm.weight": noise(hidden, centre=1.0),
            "post_attention_layernorm.weight": noise(hidden, centre=1.0),
            "self_attn.o_proj.weight": noise(hidden, config.heads * width),
            "mlp.gate_proj.weight": noise(inner, hidden),
            "mlp.up_proj.weight": noise(inner, hidden),
            "mlp.down_proj.weight": noise(hidden, inner),
        }
        for name, count in heads.items():
            layer[f"self_attn.{name}_proj.weight"] = noise(count * width, hidden)
            layer[f"self_attn.{name}_proj.bias"] = noise(count * width)
            layer[f"self_attn.{name}_norm.weight"] = noise(width, centre=1.0)
        weights |= {f"model.layers.{i}.{name}": tensor for name, tensor in layer.items()}
    return LoadedModel(name="random", config=config, weights=weights, tokenizer=ByteTokenizer())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Places to read side by side, and what their tokens' homes are shifted by."""

    slots: Ints
    shift: int


def laid_out(stretches: Sequence[Stretch], holes: int = 0) -> tuple[Ints, Ints]:
    """Slots and shifts of blocks: each stretch begins in a block of its own, so that places keep
    their offsets in pages, after `holes` pages of holes more.
    """
    slots, shifts = np.empty(0, np.int64), np.empty(0, np.int64)
    for stretch in stretches:
        lead = -len(slots) % BLOCK + int(stretch.slots[0] % PAGE) + holes * PAGE
        slots = np.concatenate([slots, np.full(lead, -1), stretch.slots])
        more = -(-len(slots) // BLOCK) - len(shifts)
        shifts = np.concatenate([shifts, np.full(more, stretch.shift)])
    return slots, shifts


def work_of(
    tokens: Sequence[int], stretches: Sequence[Stretch], position: int, holes: int = 0
) -> Work:
    """The last stretch ends in the new tokens' places, the first of them at `position`."""
    slots, shifts = laid_out(stretches, holes)
    positions = np.arange(position, position + len(tokens))
    return Work(
        tokens=tokens,
        slots=slots,
        wanted=len(tokens),
        positions=positions,
        homes=positions - stretches[-1].shift,
        shifts=shifts,
    )


def chunk(work: Work, start: int, end: int) -> Work:
    """The work's rows `start` to `end`, as a step of their own."""
    length = work.past + end
    assert work.positions is not None
    assert work.homes is not None
    assert work.shifts is not None
    return Work(
        tokens=work.tokens[start:end],
        slots=work.slots[:length],
        wanted=end - start,
        positions=work.positions[start:end],
        homes=work.homes[start:end],
        shifts=work.shifts[: -(-length // BLOCK)],
    )


class Dense:
    """Keeps keys as they were before rotation, with their homes; float64."""

    def __init__(self, model: LoadedModel) -> None:
        self._config = model.config
        self._weights: Mapping[str, Tensor] = {n: w.double() for n, w in model.weights.items()}
        shape = (2, model.config.layers, PAGES * PAGE, model.config.kv_heads, model.config.head_dim)
        self._memory = torch.full(shape, torch.nan, dtype=torch.float64)
        self._homes = np.full(PAGES * PAGE, -(10**9))

    def logits(self, work: Work) -> Tensor:
        """[rows, vocabulary]"""
        index = np.flatnonzero(work.slots >= 0)
        slots = work.slots[index]
        positions = np.arange(work.past, len(work.slots))
        positions = positions if work.positions is None else work.positions
        new = work.slots[work.past :]
        self._homes[new] = positions if work.homes is None else work.homes
        shifts = np.zeros(len(index)) if work.shifts is None else work.shifts[index // BLOCK]
        seen = torch.tensor(index[None] <= np.arange(work.past, len(work.slots))[:, None])
        angles = self._angles(positions), self._angles(self._homes[slots] + shifts)
        x = self._weights["model.embed_tokens.weight"][torch.tensor(work.tokens)]
        for layer in range(self._config.layers):
            x = x + self._attention(layer, x, (new, slots), angles, seen)
            h = self._norm(x, f"model.layers.{layer}.post_attention_layernorm")
            gate, up = (self._linear(layer, f"mlp.{name}_proj", h) for name in ("gate", "up"))
            x = x + self._linear(layer, "mlp.down_proj", functional.silu(gate) * up)
        return self._norm(x, "model.norm") @ self._weights["lm_head.weight"].T

    def _attention(
        self,
        layer: int,
        x: Tensor,
        places: tuple[Ints, Ints],
        angles: tuple[Tensor, Tensor],
        seen: Tensor,
    ) -> Tensor:
        h = self._norm(x, f"model.layers.{layer}.input_layernorm")
        query, key, value = (self._heads(layer, name, h) for name in "qkv")
        new, slots = places
        self._memory[0, layer, new], self._memory[1, layer, new] = key, value
        keys, values = self._memory[:, layer, slots]
        group = self._config.heads // self._config.kv_heads
        keys, values = (
            turned(keys, angles[1]).repeat_interleave(group, 1),
            values.repeat_interleave(group, 1),
        )
        scores = torch.einsum("rhd,phd->hrp", turned(query, angles[0]), keys)
        scores = (scores * score_scale(self._config)).masked_fill(~seen, -math.inf)
        out = torch.einsum("hrp,phd->rhd", scores.softmax(-1), values)
        return self._linear(layer, "self_attn.o_proj", out.flatten(1))

    def _heads(self, layer: int, name: str, x: Tensor) -> Tensor:
        y = self._linear(layer, f"self_attn.{name}_proj", x)
        if self._config.qkv_bias:
            y = y + self._weights[f"model.layers.{layer}.self_attn.{name}_proj.bias"]
        y = y.view(len(x), -1, self._config.head_dim)
        if self._config.qk_norm and name != "v":
            y = self._norm(y, f"model.layers.{layer}.self_attn.{name}_norm")
        return y

    def _linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        return x @ self._weights[f"model.layers.{layer}.{name}.weight"].T

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        return functional.rms_norm(x, weight.shape, weight, self._config.norm_epsilon)

    def _angles(self, positions: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
        width, scaling = self._config.head_dim, self._config.rope_scaling
        divisors = np.array(scaling.divisors) if scaling else np.ones(width // 2)
        rates = self._config.rope_theta ** (-np.arange(0, width, 2) / width) / divisors
        return torch.tensor(positions[:, None] * rates)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """[rows, heads, head_dim] by [rows, head_dim / 2]: pairs as complex numbers."""
    low, high = x.chunk(2, dim=-1)
    pairs = torch.complex(low, high) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat((pairs.real, pairs.imag), dim=-1)
