"""Run directories for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_solver import SETTINGS

from ponder.evals import RunDirectory


@pytest.fixture
def open_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Makes the directory of one run, with some settings changed."""
    return lambda **changes: RunDirectory(tmp_path / "run", {**SETTINGS, **changes})
