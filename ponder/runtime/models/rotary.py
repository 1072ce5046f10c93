"""Rotary position embedding in half-split pairing: dimension j turns with j + head_dim / 2.

Angles are computed in float64 from integer positions and rounded once. What is here is rotation
and nothing else: it composes, so a key that lies rotated in a cache may be rotated on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ponder.runtime.models.config import ModelConfig


def rotary_frequencies(config: ModelConfig) -> Tensor:
    """Radians a position, float64 [head_dim / 2]."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    frequencies = config.rope_theta**-half
    if config.rope_scaling:
        frequencies /= torch.tensor(config.rope_scaling.divisors, dtype=torch.float64)
    return frequencies


def rotary_table(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [context_length, head_dim / 2] each."""
    angles = _angles(config, torch.arange(config.context_length))
    return angles.cos().float(), angles.sin().float()


def turn(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for any integers, [positions, 1, head_dim / 2] each: differences of
    positions may be negative, or larger than the context.
    """
    angles = _angles(config, positions)[:, None]
    return angles.cos().float(), angles.sin().float()


def _angles(config: ModelConfig, positions: Tensor) -> Tensor:
    return positions.to(torch.float64)[:, None] * rotary_frequencies(config)


def score_scale(config: ModelConfig) -> float:
    """What the scores of a query with keys are multiplied by."""
    # YaRN multiplies the cosines and sines of both queries and keys by its amplitude. Here it is
    # in the scores, squared, and nowhere else: were it in the table, a key or query rotated for a
    # second time would take it twice.
    amplitude = config.rope_scaling.amplitude if config.rope_scaling else 1.0
    return amplitude * amplitude / math.sqrt(config.head_dim)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each row of `x` by its position.

    Args:
        x: [rows, heads, head_dim]
        cosines: [rows, 1, head_dim / 2]
        sines: as cosines.
    """
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosines - high * sines, high * cosines + low * sines), dim=-1)
