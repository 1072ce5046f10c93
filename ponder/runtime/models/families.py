"""The decoder families that run here, and in what they differ. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ponder.runtime.errors import CapabilityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One architecture. Its settings default to what its class in transformers says."""

    qkv_bias: bool = False
    qk_norm: bool = False
    interleaved: bool = False
    """Its GGUF files carry the rows of Q and K in pairs, for pairwise rotary."""
    kv_heads: int | None = None
    """None: as many as heads."""
    head_dim: int | None = None
    """None: hidden / heads."""
    context_length: int = 32768


FAMILIES: Final[Mapping[str, Family]] = {
    "llama": Family(interleaved=True, context_length=2048),
    "qwen2": Family(qkv_bias=True, kv_heads=32),
    "qwen3": Family(qk_norm=True, kv_heads=32, head_dim=128),
}
"""By what config.json calls `model_type` and GGUF `general.architecture`."""
KNOWN: Final = ", ".join(FAMILIES)


def require_family(architecture: str) -> None:
    """Raises `CapabilityError` for one that no decoder here runs."""
    if architecture not in FAMILIES:
        raise CapabilityError(
            f"architecture {architecture!r} is not one this engine runs; it runs {KNOWN}"
        )
