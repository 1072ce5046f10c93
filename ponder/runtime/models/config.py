"""The shape of a model and the bundle an engine needs to run one. Imports no torch at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ponder.runtime.values import Wording

if TYPE_CHECKING:
    import torch

    from ponder.runtime.models.heads import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How a model's rotary frequencies were slowed to reach further."""

    kind: str
    """"linear", "llama3" or "yarn"."""
    divisors: tuple[float, ...]
    """[head_dim / 2]: each pair's frequency is divided by its own."""
    amplitude: float = 1.0
    """YaRN's factor of the cosines and sines of queries and keys, so squared in the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A decoder's shape. Rotary pairing is half-split: dimension j turns with j + head_dim / 2."""

    architecture: str
    """"llama", "qwen2" or "qwen3"; what they differ in is spelt out below."""
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    norm_epsilon: float
    rope_theta: float
    context_length: int
    tied_embeddings: bool
    qkv_bias: bool = False
    """The projections to queries, keys and values add a bias."""
    qk_norm: bool = False
    """Each head's query and key is RMS-normed before it is rotated."""
    rope_scaling: RopeScaling | None = None
    language_head: bool = True
    """False: the model has other heads, and no logits."""


class Tokenizer(Protocol):
    """Text to tokens and back, and the model's chat template."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end the model's turn."""
        ...

    @property
    def tools(self) -> bool:
        """The template writes tools, calls and their answers, in a form that can be read back."""
        ...

    def encode(self, text: str) -> list[int]:
        """No special tokens are added; special tokens spelled in `text` are read as plain text."""
        ...

    def encode_prompt(self, prompt: Wording) -> list[int]:
        """Raw text after the beginning token, if any; chat turns through the model's template."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Special tokens are left out; invalid UTF-8 becomes U+FFFD."""
        ...

    def spellings(self) -> Sequence[bytes | None]:
        """The bytes of each token, by id; None for those that are no text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """Weights in memory, by their Hugging Face names (`model.layers.0.self_attn.q_proj.weight`,
    ...).
    """

    name: str
    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    """Linear weights are [out, in]; all of one dtype. `lm_head.weight` is absent where embeddings
    are tied.
    """
    tokenizer: Tokenizer
    heads: Mapping[str, Head] = field(default_factory=dict[str, "Head"])
