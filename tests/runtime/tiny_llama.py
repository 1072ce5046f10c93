"""Tiny random Llama models with a byte-level tokenizer, and their transformers twins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.values import Wording

BYTES = 256
EOS = 256
VOCABULARY = 258


class ByteTokenizer:
    """A token is a byte; 256 ends a turn."""

    tools = False

    def __init__(self, *, ends: bool = True) -> None:
        self.end_tokens = frozenset([EOS] if ends else [])

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_prompt(self, prompt: Wording) -> list[int]:
        if isinstance(prompt, str):
            return self.encode(prompt)
        return self.encode("".join(f"{m.role}: {m.content}\n" for m in prompt) + "assistant: ")

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(t for t in tokens if t < BYTES).decode(errors="replace")

    def spellings(self) -> list[bytes | None]:
        return [bytes([byte]) for byte in range(BYTES)]


CONFIG = ModelConfig(
    architecture="llama",
    layers=2,
    hidden=48,
    intermediate=64,
    heads=6,
    kv_heads=2,
    head_dim=8,
    vocabulary=VOCABULARY,
    norm_epsilon=1e-5,
    rope_theta=10_000.0,
    context_length=512,
    tied_embeddings=False,
)


def reference(
    config: ModelConfig = CONFIG, seed: int = 0, spread: float = 0.3
) -> Any:  # transformers has no types
    """The transformers model these tests hold the engine to."""
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        rms_norm_eps=config.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        max_position_embeddings=config.context_length,
        tie_word_embeddings=config.tied_embeddings,
        initializer_range=spread,
    )
    model: Any = LlamaForCausalLM(shape)
    return model.eval()


def tiny(
    config: ModelConfig = CONFIG, *, seed: int = 0, ends: bool = True, spread: float = 0.3
) -> LoadedModel:
    weights = reference(config, seed, spread).state_dict()
    return LoadedModel(
        name="tiny", config=config, weights=weights, tokenizer=ByteTokenizer(ends=ends)
    )
