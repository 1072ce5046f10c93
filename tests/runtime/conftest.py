"""The embedded model, loaded once: by Ponder, and by the reference."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models

from ponder.runtime.models import LoadedModel, embedded, load_model


@pytest.fixture(scope="session")
def smollm2() -> LoadedModel:
    return load_model("embedded")


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    return embedded.path()


@pytest.fixture(scope="session")
def hf_smollm2(smollm2_file: Path) -> Any:
    """The same file through transformers, float32: `hf_smollm2(ids).logits`."""
    return tiny_models.load_with_transformers(smollm2_file)
