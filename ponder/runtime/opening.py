"""From the name of a model to an engine that runs it.

The one place that knows which engines there are. Imports torch only when a real model is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict, Unpack

from ponder.runtime.api import Engine
from ponder.runtime.errors import InputError
from ponder.runtime.runners.choice import read_weight_format
from ponder.runtime.scripted import ScriptedEngine

EMBEDDED = "embedded"
SCRIPTED = "scripted"
REMOTE = "openai:"
VLLM = "vllm:"
REWARD = "reward:"


class Remote(TypedDict, total=False):
    """What only an engine behind an endpoint takes."""

    base_url: str | None
    """Of the endpoint, up to `/v1`; None reads `OPENAI_BASE_URL`, else is OpenAI's own."""
    api_key: str | None
    """None reads `PONDER_API_KEY`, else `OPENAI_API_KEY`."""
    timeout: float
    """Seconds until an endpoint answers, or between two pieces of a stream; 600."""
    probe: bool
    """Find out anew what the endpoint can do, though it is known from the last week."""
    allow_fallback: bool
    """Where an endpoint cannot go on from the beginning of a reply, tell the model in a user turn
    how its reply begins.
    """
    logprobs: bool
    """False saves the traffic of log-probabilities; then the engine has none."""
    context_length: int | None
    """Tokens; None takes the endpoint's word, if it has one."""


def open_engine(
    model: str = EMBEDDED,
    *,
    weights: str = "float32",
    pages: int | None = None,
    adapters: Mapping[str, str | Path] | None = None,
    **remote: Unpack[Remote],
) -> Engine:
    """An engine for `model`; close it when done.

    Args:
        model: "embedded" (SmolLM2-135M-Instruct), "scripted" (a toy oracle, no model at all), the
            path of a GGUF file or of a directory in Hugging Face layout, ORG/NAME on the hub,
            "vllm:MODEL" with such a directory or ORG/NAME in vLLM in this process,
            "openai:MODEL" at an endpoint that speaks OpenAI's protocol, or "reward:MODEL", a reward
            model at an endpoint (docs/rewards.md): it only reads, so it serves verifiers alone.
        weights: what a model's weights are rounded to; all but "float32" need the native step
            or, "bfloat16", a GPU. "bfloat16" is faster; "int8" and "int4" are faster yet, "int4"
            above all at one stream, and change more answers (benchmarks/RESULTS.md).
        pages: KV pages of 16 tokens; None lets the engine choose by the memory there is.
        adapters: for "vllm:MODEL" alone: directories of LoRA adapters by name.
        remote: for "openai:MODEL" alone, but for `context_length`; see `Remote`. "reward:MODEL"
            takes the first three.

    Raises:
        InputError: there is no such model, it cannot be read, or an extra is missing.
        ModelError: the endpoint is down or broken.
    """
    if model.startswith((REMOTE, REWARD)):
        _check_installed(model, ("openai",), "openai")
        return (_open_remote if model.startswith(REMOTE) else _open_reward)(model, **remote)
    if model.startswith(VLLM):
        return _open_vllm(model, weights, pages, adapters, **remote)
    if adapters:
        raise InputError(f"model {model!r} takes no adapters; {VLLM + model!r} does")
    if any(remote.values()):
        raise InputError(
            f"model {model!r} is at no endpoint, and takes no {', '.join(remote)}; "
            f"did you mean {REMOTE + model!r}?"
        )
    weight_format = read_weight_format(weights)
    if model == SCRIPTED:
        if weight_format != "float32":
            raise InputError(f"weights {weights!r}: the scripted engine has none; leave it out")
        return ScriptedEngine()
    _check_installed(model, ("torch", "tokenizers", "gguf"), "engine")
    from ponder.runtime.engine.engine import LocalEngine
    from ponder.runtime.models.load import load_model

    return LocalEngine(load_model(model), weight_format=weight_format, pages=pages)


def _open_vllm(
    model: str,
    weights: str,
    pages: int | None,
    adapters: Mapping[str, str | Path] | None,
    **remote: Unpack[Remote],
) -> Engine:
    context_length = remote.pop("context_length", None)
    if pages is not None or any(remote.values()):
        raise InputError(
            f"model {model!r} takes no {', '.join([*remote, 'pages'])}; vLLM reads how much memory "
            "it may take from its own settings"
        )
    _check_installed(model, ("vllm", "tokenizers"), "vllm")
    from ponder.runtime.vllm.engine import VllmEngine

    return VllmEngine(
        model.removeprefix(VLLM), weights=weights, context_length=context_length, adapters=adapters
    )


def _open_remote(model: str, **remote: Unpack[Remote]) -> Engine:
    from ponder.runtime.remote.connect import connect

    return connect(model.removeprefix(REMOTE), **remote)


def _open_reward(model: str, **remote: Unpack[Remote]) -> Engine:
    from ponder.runtime.reward.connect import connect

    base_url, api_key = remote.pop("base_url", None), remote.pop("api_key", None)
    timeout = remote.pop("timeout", 600.0)
    if any(remote.values()):
        raise InputError(f"model {model!r} takes no {', '.join(remote)}; it only reads")
    return connect(model.removeprefix(REWARD), base_url=base_url, api_key=api_key, timeout=timeout)


def _check_installed(model: str, needed: tuple[str, ...], extra: str) -> None:
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise InputError(
            f"model {model!r} needs {', '.join(missing)}, which is not installed; "
            f"run: pip install 'ponder[{extra}]'"
        )
