"""The draws of one decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Uniforms: TypeAlias = Callable[[int], float]
"""The k-th of them, in [0, 1)."""
