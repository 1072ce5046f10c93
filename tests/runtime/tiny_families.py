"""Tiny random models of every family and rope scaling, as transformers saves them and as GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy
import tiny_models
import torch
from tiny_models import Array, Setting
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

Settings = dict[str, Any]  # as config.json has them
CONTEXT, ORIGINAL = 192, 32
FAMILIES: dict[str, tuple[Any, Any]] = {  # transformers is untyped
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
LINEAR: Settings = {"rope_type": "linear", "factor": 3.0}
LLAMA3: Settings = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
}
YARN: Settings = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
}


def shape(hidden: int, heads: int, kv_heads: int, head_dim: int, **more: Any) -> Settings:
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "tie_word_embeddings": False,
    } | more


CASES: dict[str, tuple[str, Settings, Settings]] = {
    "llama": ("llama", shape(40, 5, 1, 8), {}),
    "llama linear": ("llama", shape(48, 6, 2, 16), LINEAR),
    "llama llama3": ("llama", shape(60, 3, 3, 20, tie_word_embeddings=True), LLAMA3),
    "llama llama3, wide": ("llama", shape(44, 4, 2, 32), LLAMA3),
    "llama yarn": ("llama", shape(36, 6, 3, 12), YARN),
    "llama yarn, ramp to its end": (
        "llama",
        shape(64, 4, 2, 32),
        YARN | {"beta_fast": 4.0, "beta_slow": 0.5, "truncate": False},
    ),
    "llama yarn, betas": ("llama", shape(48, 2, 1, 24), YARN | {"beta_fast": 2, "beta_slow": 0.5}),
    "llama yarn, factor told": ("llama", shape(32, 4, 4, 16), YARN | {"attention_factor": 0.8}),
    "llama yarn, mscale": (
        "llama",
        shape(32, 4, 1, 16),
        YARN | {"mscale": 0.7, "mscale_all_dim": 1.3},
    ),
    "qwen2": ("qwen2", shape(56, 7, 1, 8), {}),
    "qwen2 tied": ("qwen2", shape(36, 6, 2, 6, tie_word_embeddings=True), {}),
    "qwen2 yarn": ("qwen2", shape(48, 3, 3, 16), YARN),
    "qwen2, wide": ("qwen2", shape(96, 3, 1, 32), {}),
    "qwen3, wide": ("qwen3", shape(40, 6, 2, 32), {}),
    "qwen3 yarn, wide": ("qwen3", shape(44, 4, 2, 48, tie_word_embeddings=True), YARN),
    "qwen3": ("qwen3", shape(40, 6, 2, 12), {}),
    "qwen3 tied": ("qwen3", shape(28, 5, 5, 24, tie_word_embeddings=True), {}),
    "qwen3 yarn": ("qwen3", shape(44, 8, 2, 10), YARN),
    "qwen3 linear": ("qwen3", shape(33, 3, 1, 14), LINEAR),
}


def reference(case: str) -> Any:
    """The transformers model, every weight random: fresh biases and norms would be 0 and 1."""
    family, sizes, scaling = CASES[case]
    config, model = FAMILIES[family]
    sizes = dict(sizes)
    head_dim = sizes.pop("head_dim")
    if family == "qwen2":  # it has no such setting
        assert head_dim == sizes["hidden_size"] // sizes["num_attention_heads"]
    else:
        sizes["head_dim"] = head_dim
    torch.manual_seed(sum(map(ord, case)))
    made = model(
        config(
            vocab_size=len(tiny_models.TOKENS),
            intermediate_size=52,
            num_hidden_layers=3,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0} | scaling,
            rms_norm_eps=1e-5,
            bos_token_id=1,
            eos_token_id=2,
            **sizes,
        )
    ).eval()
    for name, parameter in made.named_parameters():
        centre = 1.0 if "norm" in name else 0.0
        torch.nn.init.normal_(parameter, centre, 0.15)
    return made


def save(path: Path, model: Any) -> Path:
    """A directory as transformers saves it, with a byte-level tokeniser."""
    vocabulary = {token: i for i, token in enumerate(tiny_models.TOKENS)}
    merges = [(m.split(" ")[0], m.split(" ")[1]) for m in tiny_models.MERGES]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tiny_models.CONTROLS])
    fast: Any = PreTrainedTokenizerFast  # its constructor is untyped
    fast(tokenizer_object=tokenizer, eos_token="<|im_end|>").save_pretrained(path)
    model.save_pretrained(path)
    return path


def write_gguf(path: Path, case: str, model: Any) -> Path:
    """The same weights as a converter writes them, under the names the `gguf` library gives."""
    family, _, scaling = CASES[case]
    config = model.config
    architecture = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    weights: dict[str, Array] = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array: Array = tensor.numpy()
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            array = _in_pairs(array, config.head_dim)
        weights[str(names.get_name(name, try_suffixes=(".weight", ".bias")))] = array
    if scaling.get("rope_type") == "llama3":
        weights["rope_freqs.weight"] = _divisors(config)
    settings = _settings(config) | _scaling(scaling)
    return tiny_models.write(
        path,
        weights=weights,
        settings=settings,
        without=[] if family == "llama" else ["llama.rope.dimension_count"],
        architecture=family,
    )


def _settings(config: Any) -> dict[str, Setting]:
    head_dim = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    return {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.key_length": head_dim,
        "llama.attention.value_length": head_dim,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.rope.dimension_count": head_dim,
    }


def _scaling(scaling: Settings) -> dict[str, Setting]:
    if scaling.get("rope_type") not in ("linear", "yarn"):
        return {}
    found: dict[str, Setting] = {
        "llama.rope.scaling.type": scaling["rope_type"],
        "llama.rope.scaling.factor": scaling["factor"],
    }
    if scaling["rope_type"] == "yarn":
        found["llama.rope.scaling.original_context_length"] = ORIGINAL
        found["llama.rope.scaling.finetuned"] = True
        for name in ("beta_fast", "beta_slow"):
            if name in scaling:
                found[f"llama.rope.scaling.yarn_{name}"] = float(scaling[name])
    return found


def _in_pairs(weight: Array, head_dim: int) -> Array:
    """Rows (j, j + head_dim / 2) of each head side by side, as Llama converters lay them."""
    halves = weight.reshape(-1, 2, head_dim // 2, weight.shape[1])
    return numpy.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _divisors(config: Any) -> Array:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
    exponents = torch.arange(0, config.head_dim, 2) / config.head_dim
    plain = config.rope_parameters["rope_theta"] ** -exponents
    divisors: Array = (plain / scaled).float().numpy()
    return divisors
