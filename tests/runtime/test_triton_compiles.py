"""The compiler takes the kernels that the interpreter runs, for an H100, without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
SHARED = 227 << 10
"""Bytes of shared memory that a program may have on an H100."""


def test_kernels_compile_for_hopper(tmp_path: Path) -> None:
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    env.pop("TRITON_INTERPRET", None)
    script = Path(__file__).parent / "compile_kernels.py"
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == 10
    for name, shared, matrix_units in rows:
        assert int(shared) <= SHARED
        assert (matrix_units == "True") == (name in ("_attend", "_product"))
