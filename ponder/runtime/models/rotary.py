"""Rotary position embedding in half-split pairing: dimension j turns with j + head_dim / 2.

Angles are computed in float64 from integer positions and rounded once.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(head_dim: int, theta: float, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [positions, head_dim / 2] each."""
    half = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * theta**-half
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each row of `x` by its position.

    Args:
        x: [rows, heads, head_dim]
        cosines: [rows, 1, head_dim / 2]
        sines: as cosines.
    """
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosines - high * sines, high * cosines + low * sines), dim=-1)
