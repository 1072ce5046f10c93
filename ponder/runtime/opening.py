"""From the name of a model to an engine that runs it.

The one place that knows which engines there are. Imports torch only when a real model is opened.
"""

from __future__ import annotations

from importlib.util import find_spec

from ponder.runtime.api import Engine
from ponder.runtime.errors import InputError
from ponder.runtime.runners.choice import read_weight_format
from ponder.runtime.scripted import ScriptedEngine

EMBEDDED = "embedded"
SCRIPTED = "scripted"


def open_engine(
    model: str = EMBEDDED, *, weights: str = "float32", pages: int | None = None
) -> Engine:
    """An engine for `model`; close it when done.

    Args:
        model: "embedded" (SmolLM2-135M-Instruct), "scripted" (a toy oracle, no model at all), the
            path of a GGUF file or of a directory in Hugging Face layout, or ORG/NAME on the hub.
        weights: what a model's weights are rounded to; all but "float32" need the native step
            or, "bfloat16", a GPU.
            "bfloat16" is faster, and as often right; "int8" is faster yet, and less often
            (benchmarks/RESULTS.md).
        pages: KV pages of 16 tokens; None lets the engine choose by the memory there is.

    Raises:
        InputError: there is no such model, it cannot be read, or the `engine` extra is missing.
    """
    weight_format = read_weight_format(weights)
    if model == SCRIPTED:
        if weight_format != "float32":
            raise InputError(f"weights {weights!r}: the scripted engine has none; leave it out")
        return ScriptedEngine()
    missing = [name for name in ("torch", "tokenizers", "gguf") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"model {model!r} needs {', '.join(missing)}, which is not installed; "
            "run: pip install 'ponder[engine]'"
        )
    from ponder.runtime.engine.engine import LocalEngine
    from ponder.runtime.models.load import load_model

    return LocalEngine(load_model(model), weight_format=weight_format, pages=pages)
