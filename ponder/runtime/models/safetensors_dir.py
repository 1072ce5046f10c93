"""Opens a directory in the Hugging Face layout: config.json, safetensors (whole or sharded),
tokeniser; and the heads of value and reward models.

Only safetensors are read: pickles run code. What the decoder has not (sliding windows, further
biases, quantised weights) is refused by name. Config defaults are those of the family's class in
transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from ponder.runtime.errors import InputError
from ponder.runtime.models import layout
from ponder.runtime.models.config import LoadedModel, ModelConfig
from ponder.runtime.models.families import FAMILIES, KNOWN
from ponder.runtime.models.heads import headed, heads_of, is_head
from ponder.runtime.models.json_file import count, number, read_json
from ponder.runtime.models.rope_json import read_rope

if TYPE_CHECKING:
    import torch

_INDEX: Final = "model.safetensors.index.json"
_WHOLE: Final = "model.safetensors"
_FORMATS: Final = ("F32", "F16", "BF16")
_PLAIN: Final[Mapping[str, tuple[object, ...]]] = {
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "hidden_act": (None, "silu"),
    "quantization_config": (None,),
    "partial_rotary_factor": (None, 1.0),
    "use_sliding_window": (None, False),
    "dual_chunk_attention_config": (None,),
}
"""Settings that change the arithmetic, and the values that a plain model has."""


def load_directory(path: Path, *, dtype: layout.Precision, name: str) -> LoadedModel:
    """The whole model in memory, in `dtype`.

    Raises:
        InputError: a file is missing, cut short or corrupt, or the model is not one that runs here.
    """
    from ponder.runtime.models.tokenizer_json import tokenizer_from_directory

    config = read_config(path / "config.json")
    tokenizer = tokenizer_from_directory(path, vocabulary=config.vocabulary)
    config, weights = _read_weights(path, config, dtype)
    found = heads_of(weights, read_json(path / "config.json"), path)
    if not (config.language_head or found):
        raise InputError(f"{path}: neither {layout.HEAD!r} nor another head; get the files again")
    return LoadedModel(name=name, config=config, weights=weights, tokenizer=tokenizer, heads=found)


def read_config(path: Path) -> ModelConfig:
    """The model's shape from a config.json."""
    raw = read_json(path)
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise InputError(f"{path}: model_type {kind!r} is not supported; known: {KNOWN}")
    for key, plain in _PLAIN.items():
        if raw.get(key) not in plain:
            raise InputError(f"{path}: {key} {raw[key]!r} is not supported")
    if not _full_attention(raw.get("layer_types")):
        raise InputError(
            f"{path}: layer_types {raw['layer_types']!r} is not supported; only 'full_attention' is"
        )
    family = FAMILIES[kind]
    hidden, heads = count(raw, "hidden_size", path), count(raw, "num_attention_heads", path)
    head_dim = count(raw, "head_dim", path, family.head_dim or hidden // heads)
    context = count(raw, "max_position_embeddings", path, family.context_length)
    rope = read_rope(raw, head_dim=head_dim, context=context, path=path)
    # Left out, it is the class's default; null, it is as many as heads.
    shared = heads if "num_key_value_heads" in raw else family.kv_heads or heads
    config = ModelConfig(
        architecture=kind,
        layers=count(raw, "num_hidden_layers", path),
        hidden=hidden,
        intermediate=count(raw, "intermediate_size", path),
        heads=heads,
        kv_heads=count(raw, "num_key_value_heads", path, shared),
        head_dim=head_dim,
        vocabulary=count(raw, "vocab_size", path),
        norm_epsilon=number(raw, "rms_norm_eps", path, 1e-6),
        rope_theta=rope.theta,
        context_length=rope.context_length,
        tied_embeddings=raw.get("tie_word_embeddings", False) is True,
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        rope_scaling=rope.scaling,
        language_head=not headed(raw),
    )
    layout.check_config(config, path)
    return config


def _full_attention(kinds: object) -> bool:
    if kinds is None:
        return True
    return isinstance(kinds, list) and set(cast(list[object], kinds)) <= {"full_attention"}


def _read_weights(
    path: Path, config: ModelConfig, dtype: layout.Precision
) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Weights and heads; and the shape, which has a head over the vocabulary if the files do."""
    from safetensors import SafetensorError

    files = _files(path)
    found: dict[str, tuple[int, ...]] = {}
    weights: dict[str, torch.Tensor] = {}
    try:
        for file in files:
            with _opened(file) as opened:
                found |= _shapes(opened, config, file)
        heads = {name: shape for name, shape in found.items() if is_head(name)}
        config = replace(config, language_head=config.language_head or layout.HEAD in found)
        wanted = layout.shapes(config) | heads
        layout.check_tensors(found, wanted, path, architecture=config.architecture)
        for file in files:
            with _opened(file) as opened:
                for name in wanted.keys() & set(opened.keys()):
                    weights[name] = _tensor(opened, name, dtype, file)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: the weights cannot be read ({error}); the file is cut short or corrupt, "
            "get it again"
        ) from error
    return config, {name: weights[name] for name in wanted}


def _files(path: Path) -> list[Path]:
    """The file or files that hold the weights, in order of name."""
    if (path / _WHOLE).is_file():
        return [path / _WHOLE]
    if not (path / _INDEX).is_file():
        raise InputError(f"{path} has neither {_WHOLE} nor {_INDEX}; no other weights are read")
    shards: object = read_json(path / _INDEX).get("weight_map")
    if not isinstance(shards, dict):
        raise InputError(f"{path / _INDEX} has no 'weight_map' object; get the file again")
    names = set(cast(dict[str, object], shards).values())
    files: list[Path] = []
    for name in sorted(map(str, names)):
        if Path(name).name != name or not (path / name).is_file():
            raise InputError(f"{path / _INDEX} names {name!r}, which is no file beside it")
        files.append(path / name)
    return files


class _Part(Protocol):
    def get_dtype(self) -> str: ...

    def get_shape(self) -> list[int]: ...


class _Opened(Protocol):
    """What is used of an open safetensors file; the library's own type is untyped."""

    def keys(self) -> list[str]: ...

    def get_slice(self, name: str) -> _Part: ...

    def get_tensor(self, name: str) -> torch.Tensor: ...


def _opened(file: Path) -> AbstractContextManager[_Opened]:
    from safetensors import safe_open

    return cast("AbstractContextManager[_Opened]", safe_open(file, framework="pt"))


def _shapes(opened: _Opened, config: ModelConfig, file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name, without what a model computes or shares for itself."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in opened.keys():  # noqa: SIM118 - no dict
        if name.endswith(".rotary_emb.inv_freq") or (
            name == layout.HEAD and config.tied_embeddings
        ):
            continue
        part = opened.get_slice(name)
        if part.get_dtype() not in _FORMATS:
            raise InputError(
                f"{file}: tensor {name!r} is stored as {part.get_dtype()}; known: {_FORMATS}"
            )
        shapes[name] = tuple(part.get_shape())
    return shapes


def _tensor(opened: _Opened, name: str, dtype: layout.Precision, file: Path) -> torch.Tensor:
    import torch

    tensor = opened.get_tensor(name)
    layout.check_finite(name, tensor, file)
    # A copy, even where nothing changes: the file stays mapped as long as a view of it lives.
    target = torch.float32 if dtype == "float32" else torch.bfloat16
    return tensor.to(target, copy=True).contiguous()
