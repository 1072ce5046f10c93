"""What probing found, kept for a week: for each URL, model and version of the server."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ponder.runtime.models.embedded import cache_directory
from ponder.runtime.remote.abilities import Abilities
from ponder.runtime.remote.endpoint import Endpoint

WEEK = 7 * 24 * 3600.0
_known: dict[tuple[str, str], Abilities] = {}


def recall(endpoint: Endpoint, model: str) -> Abilities | None:
    """What this process found out already."""
    return _known.get((endpoint.base_url, model))


def load(endpoint: Endpoint, model: str, version: str, *, now: float) -> Abilities | None:
    """What any process found out in the last week; None where that is nothing, or unreadable."""
    try:
        kept = json.loads(_file(endpoint, model, version).read_bytes())
        if not 0 <= now - kept["saved"] < WEEK:
            return None
        found = TypeAdapter(Abilities).validate_python(kept["abilities"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None  # probed again, and written anew
    _known[endpoint.base_url, model] = found
    return found


def remember(endpoint: Endpoint, model: str, abilities: Abilities) -> None:
    """For this process, and where the cache can be written for others."""
    _known[endpoint.base_url, model] = abilities
    prefix = abilities.prefix and abilities.prefix.value
    kept = {
        "saved": time.time(),
        "url": endpoint.base_url,
        "model": model,
        "abilities": asdict(abilities) | {"prefix": prefix},
    }
    target = _file(endpoint, model, abilities.version)
    part = target.with_suffix(f".{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(kept, indent=2))
        part.replace(target)
    except OSError:
        return  # probing again costs seconds; a cache is no reason to fail


def forget() -> None:
    """What this process knows."""
    _known.clear()


def _file(endpoint: Endpoint, model: str, version: str) -> Path:
    name = json.dumps([endpoint.base_url, model, version])
    digest = blake2b(name.encode(), digest_size=12).hexdigest()
    return cache_directory() / "endpoints" / f"{digest}.json"
