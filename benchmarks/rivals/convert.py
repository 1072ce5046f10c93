"""The embedded model as rivals read it, once, into the folder given: `gguf`, the file as it is, and
`hugging_face/`, its weights dequantised to bfloat16 with a config and the tokenizer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import save_file
from transformers import AutoTokenizer

from ponder.runtime import LoadedModel, known_models, load_model

EMBEDDED = "SmolLM2-135M-Instruct"


def write(model: LoadedModel, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(model.weights), folder / "model.safetensors", metadata={"format": "pt"})
    shape, end = model.config, min(model.tokenizer.end_tokens)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": shape.context_length,
        "tie_word_embeddings": shape.tied_embeddings,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def write_tokenizer(file: Path, folder: Path) -> None:
    """That of a GGUF file, with its chat template."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.save_pretrained(folder)


def main(target: Path) -> None:
    folder, link = target / "hugging_face", target / "gguf"
    write(load_model("embedded", dtype="bfloat16"), folder)
    file = next(m.where for m in known_models() if m.name == EMBEDDED)
    write_tokenizer(file, folder)
    link.unlink(missing_ok=True)
    link.symlink_to(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
