"""Reads a model's rotary positions from its config.json: `rope_parameters` of transformers 5, or
`rope_theta` and `rope_scaling` of transformers 4.

A setting not known here is refused, not passed over: it might change the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ponder.runtime.errors import InputError
from ponder.runtime.models.config import RopeScaling
from ponder.runtime.models.json_file import count, number
from ponder.runtime.models.rope_scaling import (
    KINDS,
    Basis,
    Rope,
    linear,
    llama3,
    unsupported,
    yarn,
    yarn_amplitude,
)

_ALWAYS: Final = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})
_ORIGINAL: Final = "original_max_position_embeddings"
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor", _ORIGINAL}),
    "yarn": frozenset(
        {"factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim"}
        | {"truncate", _ORIGINAL}
    ),
}


def read_rope(raw: Mapping[str, Any], *, head_dim: int, context: int, path: Path) -> Rope:
    """Theta, scaling, and the length of context that follows.

    Raises:
        InputError: a scaling or setting that is not known, or that makes no sense.
    """
    settings = _settings(raw, path)
    kind: object = settings.get("rope_type", settings.get("type", "default"))
    if kind is not None and kind not in ("default", *KINDS):
        raise unsupported(kind, str(path))
    kind = str(kind or "default")
    said = {key for key, value in settings.items() if value is not None}
    if foreign := sorted(said - _ALWAYS - _KEYS[kind]):
        raise InputError(
            f"{path}: rope setting {foreign[0]!r} ({settings[foreign[0]]!r}) is not supported with "
            f"rope scaling {kind!r}; known: {sorted(_KEYS[kind])}"
        )
    if settings.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError(
            f"{path}: partial_rotary_factor {settings['partial_rotary_factor']!r} is not supported"
        )
    theta = number(settings, "rope_theta", path, number(raw, "rope_theta", path, 10000.0))
    if kind == "default":
        return Rope(theta=theta, context_length=context)
    original = count(settings, _ORIGINAL, path, context)
    if raw.get(_ORIGINAL) is not None:  # it has the last word in transformers too
        original = count(raw, _ORIGINAL, path)
    basis = Basis(theta=theta, head_dim=head_dim, where=str(path))
    if kind == "linear":
        scaling = linear(basis, number(settings, "factor", path))
        return Rope(theta=theta, context_length=context, scaling=scaling)
    if kind == "llama3":
        scaling = llama3(
            basis,
            factor=number(settings, "factor", path),
            low=number(settings, "low_freq_factor", path),
            high=number(settings, "high_freq_factor", path),
            original=original,
        )
        return Rope(theta=theta, context_length=context, scaling=scaling)
    factor = number(settings, "factor", path, context / original)
    scaling = _yarn(basis, settings, factor, original, path)
    return Rope(theta=theta, context_length=max(context, int(factor * original)), scaling=scaling)


def _settings(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The object with the settings, whatever its name; empty where there is none."""
    found: list[dict[str, Any]] = []
    for key in ("rope_scaling", "rope_parameters"):
        value: object = raw.get(key)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise InputError(f"{path}: {key} is {value!r}; it must be an object")
        found.append(cast(dict[str, Any], value))
    if len(found) > 1 and found[0] != found[1]:
        raise InputError(
            f"{path}: rope_scaling and rope_parameters say different things; leave one of them out"
        )
    return found[0] if found else {}


def _yarn(
    basis: Basis, settings: Mapping[str, Any], factor: float, original: int, path: Path
) -> RopeScaling:
    amplitude = None
    if settings.get("attention_factor") is not None:
        amplitude = number(settings, "attention_factor", path)
    elif settings.get("mscale") and settings.get("mscale_all_dim"):
        weights = (number(settings, key, path) for key in ("mscale", "mscale_all_dim"))
        above, below = (yarn_amplitude(factor, weight) for weight in weights)
        amplitude = above / below
    truncate: object = settings.get("truncate", True)
    if not isinstance(truncate, bool):
        raise InputError(f"{path}: truncate is {truncate!r}; it must be true or false")
    return yarn(
        basis,
        factor=factor,
        original=original,
        beta_fast=number(settings, "beta_fast", path, 32.0),
        beta_slow=number(settings, "beta_slow", path, 1.0),
        truncate=truncate,
        amplitude=amplitude,
    )
