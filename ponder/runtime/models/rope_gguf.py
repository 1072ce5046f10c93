"""Reads a model's rotary positions from a GGUF file's metadata.

Llama 3.1's scaling is not in the metadata but a tensor of divisors, `rope_freqs.weight`; whoever
reads the weights adds it. A rope setting not known here is refused, not passed over.
"""

from __future__ import annotations

from typing import Final

from ponder.runtime.errors import InputError
from ponder.runtime.models.config import RopeScaling
from ponder.runtime.models.gguf_metadata import Metadata
from ponder.runtime.models.rope_scaling import Basis, Rope, linear, unsupported, yarn

_READ: Final = (
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
)
_NEUTRAL: Final = {
    "rope.scale_linear": (1.0,),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (-1.0, 1.0),
    "rope.scaling.yarn_log_multiplier": (0.0,),
}
"""Settings at which nothing is other than YaRN's own. At other values writers and readers of the
format disagree on what they mean.
"""


def read_rope(metadata: Metadata, *, head_dim: int, context: int) -> Rope:
    """Theta, scaling, and the length of context that follows.

    Raises:
        InputError: a scaling or setting that is not known, or that makes no sense.
    """
    _refuse_foreign(metadata)
    theta = metadata.number("rope.freq_base", 10000.0)
    factor = metadata.number("rope.scaling.factor", 1.0) or 1.0  # written as 0 where not set
    # The format's default is "linear", also where only a factor is given.
    kind = metadata.get("rope.scaling.type") or "linear"
    if kind not in ("none", "linear", "yarn"):
        raise unsupported(kind, str(metadata.path))
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return Rope(theta=theta, context_length=context)
    basis = Basis(theta=theta, head_dim=head_dim, where=str(metadata.path))
    if kind == "linear":
        return Rope(theta=theta, context_length=context, scaling=linear(basis, factor))
    original = metadata.count("rope.scaling.original_context_length", context)
    scaling = yarn(
        basis,
        factor=factor,
        original=original,
        beta_fast=metadata.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=metadata.number("rope.scaling.yarn_beta_slow", 1.0),
    )
    return Rope(theta=theta, context_length=max(context, int(factor * original)), scaling=scaling)


def with_divisors(
    rope: RopeScaling | None, divisors: list[float], metadata: Metadata
) -> RopeScaling:
    """The scaling that `rope_freqs.weight` means."""
    if rope is not None:
        raise InputError(
            f"{metadata.path}: rope scaling {rope.kind!r} and the tensor 'rope_freqs.weight' "
            "together are not supported; take a file with one of them"
        )
    if not all(0 < d < float("inf") for d in divisors):
        raise InputError(
            f"{metadata.path}: tensor 'rope_freqs.weight' holds {min(divisors)!r}; it must be "
            "above 0; the file is damaged, get it again"
        )
    return RopeScaling(kind="llama3", divisors=tuple(divisors))


def _refuse_foreign(metadata: Metadata) -> None:
    for key in metadata.keys_below("rope."):
        value = metadata.get(key)
        if key not in _READ and value not in _NEUTRAL.get(key, ()):
            raise InputError(f"{metadata.path}: {key} {value!r} is not supported; leave it out")
