"""Opens a GGUF file: config from its metadata, weights dequantised under their Hugging Face names.

The file is memory-mapped and read tensor by tensor, so at most one is held twice. Llama files (and
no others) carry the rows of Q and K interleaved for pairwise rotary; they are put back into
half-split order here.
Dequantisation is the `gguf` library's. What cannot be run faithfully is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ponder.runtime.errors import InputError
from ponder.runtime.models import layout
from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.models.families import FAMILIES, KNOWN
from ponder.runtime.models.gguf_header import Header, TensorEntry, Value, read_header
from ponder.runtime.models.gguf_metadata import Metadata
from ponder.runtime.models.rope_gguf import read_rope, with_divisors

if TYPE_CHECKING:
    import numpy
    import torch

_NAMES: Final = {
    layout.EMBEDDING: "token_embd.weight",
    layout.NORM: "output_norm.weight",
    layout.HEAD: "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_JOINED: Final = 64
"""Rows of a matrix dequantised as one, at most."""
_DIVISORS: Final = "rope_freqs.weight"
_NEUTRAL: Final[Mapping[str, tuple[Value, ...]]] = {
    "expert_count": (0,),
    "attention.scale": (0.0,),
    "attention.sliding_window": (0,),
    "logit_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
}
"""Settings that change the arithmetic, and the values at which they change nothing."""


def load_gguf(path: Path, *, dtype: layout.Precision, name: str) -> LoadedModel:
    """The whole model in memory, in `dtype`.

    Raises:
        InputError: the file is cut short, corrupt, or not a model that runs here.
    """
    from ponder.runtime.models.tokenizer_gguf import tokenizer_from_gguf

    header = read_header(path)
    config = read_config(header, path)
    wanted = {file_name(name): shape for name, shape in layout.shapes(config).items()}
    found = {entry.name: entry.shape for entry in header.tensors.values()}
    if _DIVISORS in found:
        wanted[_DIVISORS] = (config.head_dim // 2,)
    layout.check_tensors(found, wanted, path, architecture=config.architecture)
    tokenizer = tokenizer_from_gguf(header.metadata, path)
    weights = _read_weights(header, config, path, dtype)
    if _DIVISORS in found:
        config = _with_divisors(header, config, path)
    return LoadedModel(name=name, config=config, weights=weights, tokenizer=tokenizer)


def file_name(name: str) -> str:
    """What a GGUF file calls the tensor that Hugging Face calls `name`."""
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest]}"


def read_config(header: Header, path: Path) -> ModelConfig:
    """The shape the metadata gives; refuses whatever a plain model has not.

    The scaling that a tensor holds is not in it.
    """
    metadata = Metadata(header.metadata, path)
    architecture = metadata.text("general.architecture")
    if architecture not in FAMILIES:
        raise InputError(f"{path}: architecture {architecture!r} is not supported; known: {KNOWN}")
    _refuse_extras(metadata)
    hidden, heads = metadata.count("embedding_length"), metadata.count("attention.head_count")
    if hidden < 1 or heads < 1:
        raise InputError(f"{path}: hidden size {hidden} and {heads} heads; both must be above 0")
    head_dim = metadata.count("attention.key_length", hidden // heads)
    rope = read_rope(metadata, head_dim=head_dim, context=metadata.count("context_length"))
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    config = ModelConfig(
        architecture=architecture,
        layers=metadata.count("block_count"),
        hidden=hidden,
        intermediate=metadata.count("feed_forward_length"),
        heads=heads,
        kv_heads=metadata.count("attention.head_count_kv", heads),
        head_dim=head_dim,
        vocabulary=len(tokens) if isinstance(tokens, list) else metadata.count("vocab_size"),
        norm_epsilon=metadata.number("attention.layer_norm_rms_epsilon"),
        rope_theta=rope.theta,
        context_length=rope.context_length,
        tied_embeddings=_NAMES[layout.HEAD] not in header.tensors,
        qkv_bias=FAMILIES[architecture].qkv_bias,
        qk_norm=FAMILIES[architecture].qk_norm,
        rope_scaling=rope.scaling,
    )
    for key in ("attention.value_length", "rope.dimension_count"):
        if metadata.count(key, config.head_dim) != config.head_dim:
            raise InputError(
                f"{path}: {key} is {metadata.count(key)!r}; only head_dim, {config.head_dim}, "
                "is supported"
            )
    layout.check_config(config, path)
    return config


def _refuse_extras(metadata: Metadata) -> None:
    for key, neutral in _NEUTRAL.items():
        value = metadata.get(key)
        if value is not None and value not in neutral:
            raise InputError(f"{metadata.path}: {key} {value!r} is not supported; leave it out")


def _read_weights(
    header: Header, config: ModelConfig, path: Path, dtype: layout.Precision
) -> dict[str, torch.Tensor]:
    import numpy
    import torch

    for entry in header.tensors.values():
        _check_extent(entry, header.size, path)
    data = numpy.memmap(path, mode="r", dtype=numpy.uint8)
    target = torch.float32 if dtype == "float32" else torch.bfloat16
    heads: dict[str, int] = {}
    if FAMILIES[config.architecture].interleaved:
        heads["self_attn.q_proj.weight"] = config.heads
        heads["self_attn.k_proj.weight"] = config.kv_heads
    weights: dict[str, torch.Tensor] = {}
    for name in layout.shapes(config):
        values = _dequantised(data, header.tensors[file_name(name)])
        tensor = torch.from_numpy(values)  # pyright: ignore[reportUnknownMemberType] - bare ndarray
        layout.check_finite(file_name(name), tensor, path)
        interleaved = next((n for suffix, n in heads.items() if name.endswith(suffix)), None)
        if interleaved:
            tensor = half_split(tensor, interleaved)
        weights[name] = tensor.to(target)
    return weights


def _with_divisors(header: Header, config: ModelConfig, path: Path) -> ModelConfig:
    """The config with the scaling that the file holds as a tensor."""
    import numpy

    entry = header.tensors[_DIVISORS]
    _check_extent(entry, header.size, path)
    divisors = _dequantised(numpy.memmap(path, mode="r", dtype=numpy.uint8), entry)
    metadata = Metadata(header.metadata, path)
    scaling = with_divisors(config.rope_scaling, divisors.tolist(), metadata)
    return replace(config, rope_scaling=scaling)


def half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (2j, 2j + 1) of each head back to (j, j + head_dim / 2). Shape [out, in]."""
    out, inner = weight.shape
    pairs = weight.reshape(heads, out // heads // 2, 2, inner)
    return pairs.transpose(1, 2).reshape(out, inner)


def _check_extent(entry: TensorEntry, size: int, path: Path) -> None:
    block, width = _block(entry, path)
    if entry.shape[-1] % block:
        raise InputError(
            f"{path}: tensor {entry.name!r} has rows of {entry.shape[-1]}; its quantisation "
            f"packs {block} at a time"
        )
    end = entry.offset + math.prod(entry.shape) // block * width
    if end > size:
        raise InputError(
            f"model file {path} is cut short: tensor {entry.name!r} ends at byte {end}, the file "
            f"at {size}; copy or download it again"
        )


def _block(entry: TensorEntry, path: Path) -> tuple[int, int]:
    """Weights and bytes in a block of the tensor's quantisation."""
    import gguf

    try:
        kind = gguf.GGMLQuantizationType(entry.kind)
    except ValueError as error:
        raise InputError(
            f"{path}: tensor {entry.name!r} has unknown quantisation number {entry.kind}"
        ) from error
    block, width = gguf.GGML_QUANT_SIZES[kind]
    try:
        gguf.dequantize(_zeros(width), kind)
    except NotImplementedError as error:
        raise InputError(
            f"{path}: tensor {entry.name!r} is stored as {kind.name}, which cannot be "
            "dequantised; take a file in F32, F16, BF16, Q8_0 or a Q2_K to Q6_K kind"
        ) from error
    return block, width


def _zeros(width: int) -> numpy.ndarray[Any, Any]:
    import numpy

    return numpy.zeros((1, width), dtype=numpy.uint8)


def _dequantised(
    data: numpy.ndarray[Any, Any], entry: TensorEntry
) -> numpy.ndarray[Any, Any]:  # Any: numpy's own spelling of "any shape"
    import gguf
    import numpy

    kind = gguf.GGMLQuantizationType(entry.kind)
    block, width = gguf.GGML_QUANT_SIZES[kind]
    length = math.prod(entry.shape) // block * width
    raw = numpy.asarray(data[entry.offset : entry.offset + length])
    # The library goes through sixteen rows at a time, so rows are joined to longer ones.
    rows = math.prod(entry.shape[:-1])
    raw = raw.reshape(rows // math.gcd(rows, _JOINED), -1)
    with numpy.errstate(all="ignore"):  # a damaged scale is found by the check for finite weights
        values = gguf.dequantize(raw, kind).reshape(entry.shape)
    return numpy.require(values, numpy.float32, "W")  # a copy where it is the read-only map itself
