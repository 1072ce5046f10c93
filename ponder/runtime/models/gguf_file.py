"""Opens a GGUF file as a Llama model: config from its metadata, weights dequantised under their
Hugging Face names.

The file is memory-mapped and read tensor by tensor, so at most one is held twice. Llama files carry
the rows of Q and K interleaved for pairwise rotary; they are put back into half-split order here.
Dequantisation is the `gguf` library's. What cannot be run faithfully is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ponder.runtime.errors import InputError
from ponder.runtime.models import layout
from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.models.gguf_header import Header, TensorEntry, Value, read_header

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
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_NEUTRAL: Final[Mapping[str, tuple[Value, ...]]] = {
    "expert_count": (0,),
    "rope.scale_linear": (1.0,),
    "rope.scaling.factor": (0.0, 1.0),
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
        InputError: the file is cut short, corrupt, or not a plain Llama model.
    """
    from ponder.runtime.models.tokenizer_gguf import tokenizer_from_gguf

    header = read_header(path)
    config = read_config(header, path)
    wanted = {file_name(name): shape for name, shape in layout.shapes(config).items()}
    found = {entry.name: entry.shape for entry in header.tensors.values()}
    if "rope_freqs.weight" in found:
        raise InputError(
            f"{path}: rope scaling 'llama3' (tensor 'rope_freqs.weight') is not supported; "
            "take a model without rope scaling"
        )
    layout.check_tensors(found, wanted, path)
    tokenizer = tokenizer_from_gguf(header.metadata, path)
    weights = _read_weights(header, config, path, dtype)
    return LoadedModel(name=name, config=config, weights=weights, tokenizer=tokenizer)


def file_name(name: str) -> str:
    """What a GGUF file calls the tensor that Hugging Face calls `name`."""
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest]}"


def read_config(header: Header, path: Path) -> ModelConfig:
    """The shape the metadata gives; refuses whatever a plain Llama model has not."""
    metadata = _Metadata(header.metadata, path)
    architecture = metadata.text("general.architecture")
    if architecture != "llama":
        raise InputError(f"{path}: architecture {architecture!r} is not supported; known: llama")
    _refuse_extras(metadata)
    hidden, heads = metadata.count("embedding_length"), metadata.count("attention.head_count")
    if hidden < 1 or heads < 1:
        raise InputError(f"{path}: hidden size {hidden} and {heads} heads; both must be above 0")
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    config = ModelConfig(
        architecture=architecture,
        layers=metadata.count("block_count"),
        hidden=hidden,
        intermediate=metadata.count("feed_forward_length"),
        heads=heads,
        kv_heads=metadata.count("attention.head_count_kv", heads),
        head_dim=metadata.count("attention.key_length", hidden // heads),
        vocabulary=len(tokens) if isinstance(tokens, list) else metadata.count("vocab_size"),
        norm_epsilon=metadata.number("attention.layer_norm_rms_epsilon"),
        rope_theta=metadata.number("rope.freq_base", 10000.0),
        context_length=metadata.count("context_length"),
        tied_embeddings=_NAMES[layout.HEAD] not in header.tensors,
    )
    for key in ("attention.value_length", "rope.dimension_count"):
        if metadata.count(key, config.head_dim) != config.head_dim:
            raise InputError(
                f"{path}: {key} is {metadata.count(key)!r}; only head_dim, {config.head_dim}, "
                "is supported"
            )
    layout.check_config(config, path)
    return config


def _refuse_extras(metadata: _Metadata) -> None:
    scaling = metadata.get("rope.scaling.type")
    if scaling not in (None, "none"):
        raise InputError(
            f"{metadata.path}: rope scaling {scaling!r} is not supported; "
            "take a model without rope scaling"
        )
    for key, neutral in _NEUTRAL.items():
        value = metadata.get(key)
        if value is not None and value not in neutral:
            raise InputError(f"{metadata.path}: {key} {value!r} is not supported; leave it out")


class _Metadata:
    """Metadata with types checked; keys are the architecture's unless they say `general.`."""

    def __init__(self, values: Mapping[str, Value], path: Path) -> None:
        self._values = values
        self.path = path

    def get(self, key: str) -> Value | None:
        return self._values.get(key if key.startswith("general.") else f"llama.{key}")

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = default if self.get(key) is None else self.get(key)
        if not isinstance(value, int):
            raise self._wrong(key, value, "one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = default if self.get(key) is None else self.get(key)
        if not isinstance(value, int | float):
            raise self._wrong(key, value, "one number")
        return value

    def _wrong(self, key: str, value: object, wanted: str) -> InputError:
        said = "is missing" if value is None else f"is {value!r}"
        return InputError(f"{self.path}: metadata {key!r} {said}; it must be {wanted}")


def _read_weights(
    header: Header, config: ModelConfig, path: Path, dtype: layout.Precision
) -> dict[str, torch.Tensor]:
    import numpy
    import torch

    for entry in header.tensors.values():
        _check_extent(entry, header.size, path)
    data = numpy.memmap(path, mode="r", dtype=numpy.uint8)
    target = torch.float32 if dtype == "float32" else torch.bfloat16
    heads = {"self_attn.q_proj.weight": config.heads, "self_attn.k_proj.weight": config.kv_heads}
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
    raw = data[entry.offset : entry.offset + length]
    raw = raw.reshape(*entry.shape[:-1], entry.shape[-1] // block * width)
    with numpy.errstate(all="ignore"):  # a damaged scale is found by the check for finite weights
        values = gguf.dequantize(raw, kind)
    return numpy.array(values, dtype=numpy.float32)  # a copy: the map is read-only
