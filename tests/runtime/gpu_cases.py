"""Works with forks, holes and shifts, and what attention over them is, in float64."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import Tensor

from ponder.runtime.runners.api import BLOCK, PAGE, Ints, Work

pytest.importorskip("triton")

DEVICE = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
PAGES = 80
Memory = tuple[Tensor, Tensor]


def memory(kv_heads: int, width: int, dtype: torch.dtype, seed: int = 0) -> Memory:
    """One layer's keys and values."""
    chance = torch.Generator().manual_seed(seed)
    both = torch.randn(2, PAGES, kv_heads, PAGE, width, generator=chance).to(DEVICE, dtype)
    return both[0], both[1]


def table(width: int, positions: int = 1200) -> Memory:
    """Cosines and sines."""
    frequencies = 1e4 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float().to(DEVICE), angles.sin().float().to(DEVICE)


def turned(x: Tensor, position: float | Tensor) -> Tensor:
    """[..., head_dim] in float64, at any position."""
    half = x.shape[-1] // 2
    steps = torch.arange(half, dtype=torch.float64) / half
    angle = torch.as_tensor(position, dtype=torch.float64)[..., None] * 1e4**-steps
    low, high = x.double().chunk(2, dim=-1)
    return torch.cat(
        (low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()), dim=-1
    )


def forks(seed: int, *, shifts: bool, holes: bool) -> list[Work]:
    """Four works with a common beginning of 300 places that part at 300, 130 and 40, and a chunk of
    their own of up to nine rows; one alone.
    """
    chance = np.random.default_rng(seed)
    places = chance.permutation(PAGES * PAGE)
    beginning, rest = places[:300], iter(np.split(places[300:], 7))
    works: list[Work] = []
    for shared, own, rows in ((300, 90, 1), (300, 17, 3), (130, 133, 1), (40, 70, 9), (0, 5, 2)):
        slots = np.concatenate([beginning[:shared], next(rest)[:own]])
        if holes:
            slots[[3, 64, 65][: len(slots) // 100]] = -1
        steps: Ints = np.array([0, 0, 7, 7, -20, 0, 0, 100])[: -(-len(slots) // BLOCK)]
        works.append(
            Work(
                tokens=[0] * rows,
                slots=slots,
                wanted=1,
                positions=np.arange(rows) + len(slots) + 30 if shifts else None,
                shifts=steps if shifts else None,
            )
        )
    return works


def dense(
    work: Work, row: int, query: Tensor, lying: Memory, scale: float
) -> tuple[Tensor, Tensor]:
    """What one row sees: [heads, head_dim] and [heads], float64. `query` [heads, head_dim] is not
    rotated; keys are moved by their shift.
    """
    position = work.past + row if work.positions is None else int(work.positions[row])
    seen = np.arange(work.past + row + 1)
    seen = seen[work.slots[seen] >= 0]
    shifts = np.zeros(len(seen)) if work.shifts is None else work.shifts[seen // BLOCK]
    slots = torch.from_numpy(work.slots[seen])
    keys, values = (
        m.cpu()[slots // PAGE, :, slots % PAGE]
        .double()
        .repeat_interleave(len(query) // m.shape[1], 1)
        for m in lying
    )
    keys = turned(keys, torch.from_numpy(shifts)[:, None].expand(keys.shape[:2]))
    scores = torch.einsum("hd,phd->hp", turned(query, position), keys) * scale
    return torch.einsum("hp,phd->hd", scores.softmax(1), values), scores.logsumexp(1)
