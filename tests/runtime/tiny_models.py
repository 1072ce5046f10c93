"""Writes tiny Llama models as GGUF files, whole or spoilt on purpose; and the reference reader."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel

Array = NDArray[numpy.float32]
Setting = int | float | str | bool | list[int] | list[str]

HIDDEN, INNER, HEADS, KV_HEADS, LAYERS = 256, 512, 4, 2, 2
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "1 2"]
TOKENS = [*CONTROLS, "<think>", *ByteLevel.alphabet(), *(m.replace(" ", "") for m in MERGES)]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SETTINGS: Mapping[str, Setting] = {
    "llama.block_count": LAYERS,
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 50000.0,
    "llama.rope.dimension_count": HIDDEN // HEADS,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 3, 3, 4] + [1] * (len(TOKENS) - 4),
    "tokenizer.ggml.merges": MERGES,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": TEMPLATE,
}


def tensors(*, tied: bool = True) -> dict[str, Array]:
    """Random weights under the names a GGUF file gives them."""
    random = numpy.random.default_rng(7)
    keys = HIDDEN // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(TOKENS), HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    if not tied:
        shapes["output.weight"] = (len(TOKENS), HIDDEN)
    for i in range(LAYERS):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (HIDDEN,),
            f"blk.{i}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.attn_k.weight": (keys, HIDDEN),
            f"blk.{i}.attn_v.weight": (keys, HIDDEN),
            f"blk.{i}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.ffn_norm.weight": (HIDDEN,),
            f"blk.{i}.ffn_gate.weight": (INNER, HIDDEN),
            f"blk.{i}.ffn_up.weight": (INNER, HIDDEN),
            f"blk.{i}.ffn_down.weight": (HIDDEN, INNER),
        }
    return {n: random.normal(0, 0.1, s).astype(numpy.float32) for n, s in shapes.items()}


def write(
    path: Path,
    *,
    weights: Mapping[str, Array] | None = None,
    kind: str = "F32",
    settings: Mapping[str, Setting] | None = None,
    without: Iterable[str] = (),
    architecture: str = "llama",
) -> Path:
    """A GGUF file. `settings` go over the usual ones, `without` leaves some out, and `llama.` in
    their keys becomes the architecture; matrices are stored as `kind`.
    """
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in ({**SETTINGS, **(settings or {})}).items():
        if key not in without:
            _add(writer, key.replace("llama.", f"{architecture}.", 1), value)
    for name, array in (tensors() if weights is None else weights).items():
        stored = "F32" if array.ndim == 1 else kind
        number = gguf.GGMLQuantizationType[stored]
        writer.add_tensor(name, _packed(array, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Setting) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)


_SCALES = {
    "Q2_K": (84, (80, 82)),
    "Q3_K": (110, (108,)),
    "Q4_K": (144, (0, 2)),
    "Q5_K": (176, (0, 2)),
    "Q6_K": (210, (208,)),
}
"""Bytes in a block of 256 weights, and where its half-precision scales lie."""


def _packed(array: Array, kind: gguf.GGMLQuantizationType) -> NDArray[numpy.generic]:
    if kind.name not in _SCALES:
        return gguf.quantize(array, kind)
    # The library cannot quantise to these: random blocks with sane scales do as well.
    width, scales = _SCALES[kind.name]
    rows, columns = array.shape
    random = numpy.random.default_rng(array.size)
    blocks = random.integers(0, 256, (rows, columns // 256, width), dtype=numpy.uint8)
    for place in scales:
        blocks[..., place : place + 2] = numpy.frombuffer(
            numpy.float16(0.01).tobytes(), numpy.uint8
        )
    return blocks.reshape(rows, -1)


def load_with_transformers(file: Path) -> Any:
    """The same file read by transformers, float32."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    model: Any = AutoModelForCausalLM.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model.eval()
