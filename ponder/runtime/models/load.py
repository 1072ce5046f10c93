"""From a model's name to the model: the embedded one, a GGUF file, a directory, or one on the hub.

Imports nothing heavy until a model is opened, so that models can be listed at once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.runtime.errors import InputError
from ponder.runtime.models import embedded
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.models.layout import Precision

_EMBEDDED: Final = ("embedded", embedded.NAME.lower())
_ALLOWED: Final = (
    f"'embedded' (or {embedded.NAME!r}), the path of a .gguf file, the path of a directory with "
    "config.json, tokenizer.json and safetensors, or ORG/NAME on the hub"
)
ON_HUB: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model that `load_model` can open by `name`."""

    name: str
    where: Path
    size: int
    """Bytes on disk."""
    cached: bool
    """False: it is fetched when first used."""
    architecture: str
    parameters: int | None
    """None where only the weights themselves would tell."""


def load_model(spec: str, *, dtype: Precision = "float32") -> LoadedModel:
    """Open the model that `spec` names; see `_ALLOWED` for what may stand there.

    Raises:
        InputError: `spec` names nothing, or a file that cannot be used.
        ModelError: the model could not be fetched.
    """
    if spec.lower() in _EMBEDDED:
        from ponder.runtime.models.gguf_file import load_gguf

        return load_gguf(embedded.path(), dtype=dtype, name=embedded.NAME)
    # os.path: it answers False, where pathlib raises, for names no file can have.
    place = Path(os.path.expanduser(spec))
    if spec and os.path.isdir(place):
        return _load_directory(place, dtype, place.resolve().name)
    if place.suffix.lower() == ".gguf":
        from ponder.runtime.models.gguf_file import load_gguf

        return load_gguf(place, dtype=dtype, name=place.stem)
    if spec and os.path.exists(place):
        raise InputError(f"model {spec!r} is a file of a kind not read here; give {_ALLOWED}")
    if ON_HUB.fullmatch(spec):
        from ponder.runtime.models import hub

        return _load_directory(hub.snapshot(spec), dtype, spec)
    raise InputError(f"model {spec!r} names nothing that exists; give {_ALLOWED}")


def _load_directory(place: Path, dtype: Precision, name: str) -> LoadedModel:
    from ponder.runtime.models.safetensors_dir import load_directory

    return load_directory(place, dtype=dtype, name=name)


def known_models() -> list[KnownModel]:
    """What can be opened by name: the embedded model, .gguf files in the cache, and snapshots in
    the local hub cache. Touches no network.
    """
    return [_embedded(), *_files(), *_snapshots()]


def _embedded() -> KnownModel:
    where = embedded.cached_path()
    return KnownModel(
        name=embedded.NAME,
        where=where,
        size=embedded.SIZE,
        cached=where.exists(),
        architecture="llama",
        parameters=embedded.PARAMETERS,
    )


def _files() -> list[KnownModel]:
    """GGUF files the user put into the cache; unreadable ones are no models."""
    from ponder.runtime.models.gguf_header import summary

    found: list[KnownModel] = []
    for file in sorted(embedded.cached_path().parent.glob("*.gguf")):
        if file == embedded.cached_path():
            continue
        try:
            architecture, parameters = summary(file)
        except InputError:
            continue
        found.append(
            KnownModel(
                name=str(file),
                where=file,
                size=file.stat().st_size,
                cached=True,
                architecture=architecture,
                parameters=parameters,
            )
        )
    return found


def _snapshots() -> list[KnownModel]:
    from importlib.util import find_spec

    if find_spec("huggingface_hub") is None:  # part of the `engine` extra
        return []
    from ponder.runtime.models import hub

    return [
        KnownModel(
            name=s.name,
            where=s.where,
            size=s.size,
            cached=True,
            architecture=s.architecture,
            parameters=None,
        )
        for s in hub.snapshots()
    ]
