"""LoRA adapters by name: which there are is said when the engine is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.runtime.errors import InputError
from ponder.runtime.models.json_file import count, read_json

_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Of which vLLM reserves room for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A directory as PEFT writes it."""

    path: Path
    rank: int
    number: int
    """From 1, unique among those of an engine."""


def read_adapters(paths: Mapping[str, str | Path]) -> dict[str, Adapter]:
    """Raises `InputError` where one is no adapter."""
    adapters: dict[str, Adapter] = {}
    for number, (name, place) in enumerate(paths.items(), start=1):
        path = Path(place).expanduser().resolve()
        file = path / "adapter_config.json"
        if not file.is_file():
            raise InputError(
                f"adapter {name!r}: {str(path)!r} has no adapter_config.json; give a directory as "
                "PEFT writes it"
            )
        rank = count(read_json(file), "r", file)
        if rank > _RANKS[-1]:
            raise InputError(f"adapter {name!r} has rank {rank}; vLLM takes up to {_RANKS[-1]}")
        adapters[name] = Adapter(path=path, rank=rank, number=number)
    return adapters


def rank_limit(adapters: Iterable[Adapter]) -> int:
    """The least that vLLM can reserve room for and that holds all of them."""
    most = max(adapter.rank for adapter in adapters)
    return next(rank for rank in _RANKS if rank >= most)
