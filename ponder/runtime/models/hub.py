"""Fetches a model's snapshot from the Hugging Face hub, and lists those already here.

Takes configuration, tokeniser and safetensors only: never code, never pickles. `huggingface_hub`
does the work and keeps its own cache; its settings (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE) hold.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.runtime.errors import InputError, ModelError, PonderError
from ponder.runtime.models.families import FAMILIES
from ponder.runtime.models.json_file import read_json

_ALLOWED: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A model in the local hub cache that runs here."""

    name: str
    where: Path
    size: int
    """Bytes of its newest revision."""
    architecture: str


def snapshot(name: str) -> Path:
    """The directory of the newest snapshot of `name` (ORG/NAME), fetched if need be.

    Raises:
        InputError: there is no such model, or it may not be read.
        ModelError: the hub cannot be reached and the model is not in the cache.
    """
    from huggingface_hub import (
        errors,
        snapshot_download,  # pyright: ignore[reportUnknownVariableType] - its dicts are bare
    )

    try:
        with _quiet_unless_terminal():
            return Path(snapshot_download(name, allow_patterns=list(_ALLOWED)))
    except errors.HFValidationError as error:
        raise InputError(f"{name!r} is no name on the hub: {error}; give ORG/NAME") from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"model {name!r} is gated: accept its terms at https://huggingface.co/{name}, then log "
            "in with `hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no model {name!r} that you may read; check the spelling, or log in with "
            "`hf auth login` if it is private"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ModelError(
            f"model {name!r} is not in the local cache and the hub cannot be reached; connect, or "
            f"unset HF_HUB_OFFLINE, or give a model's path instead ({_first_line(error)})",
            retryable=True,
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"model {name!r} could not be fetched from the hub: {_first_line(error)}; try again, "
            "or give a model's path instead",
            retryable=True,
        ) from error


def snapshots() -> list[Snapshot]:
    """The models in the local hub cache that run here, by name. Touches no network."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found: list[Snapshot] = []
    for repository in repositories:
        if repository.repo_type != "model" or not repository.revisions:
            continue
        newest = max(repository.revisions, key=lambda r: r.last_modified)
        where = Path(newest.snapshot_path)
        if architecture := _architecture(where):
            found.append(
                Snapshot(
                    name=repository.repo_id,
                    where=where,
                    size=newest.size_on_disk,
                    architecture=architecture,
                )
            )
    return sorted(found, key=lambda s: s.name)


def _architecture(directory: Path) -> str | None:
    """None for what does not run here."""
    if not any(directory.glob("*.safetensors")):
        return None
    try:
        kind = read_json(directory / "config.json").get("model_type")
    except PonderError:  # not ours to complain about: somebody else's unfinished download
        return None
    return kind if isinstance(kind, str) and kind in FAMILIES else None


@contextmanager
def _quiet_unless_terminal() -> Generator[None, None, None]:
    """The hub's progress bars belong on a terminal only."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if os.isatty(2) or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
