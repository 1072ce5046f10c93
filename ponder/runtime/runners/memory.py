"""The torch path's KV memory. Who may write where is the pool's business."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch

from ponder.runtime.errors import PoolExhausted
from ponder.runtime.kernels.arrays import tensor_of
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.runners.api import PAGE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KVMemory:
    """Keys and values, each [layers, kv_heads, slots, head_dim]; slot = page * PAGE + offset."""

    keys: torch.Tensor
    values: torch.Tensor


def allocate_memory(config: ModelConfig, pages: int) -> KVMemory:
    """Zeroed float32 memory; the system hands out a page of it when it is first written."""
    shape = (config.layers, config.kv_heads, pages * PAGE, config.head_dim)
    try:
        keys, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    except MemoryError as error:
        raise PoolExhausted(
            f"{pages!r} KV pages need {pages * page_bytes(config)} bytes, more than the system "
            "gives; open the engine with fewer pages"
        ) from error
    return KVMemory(keys=tensor_of(keys), values=tensor_of(values))


def host_kv_bytes() -> int:
    """A quarter of the machine's memory, up to 4 GiB."""
    return min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4, 4 << 30)


def page_bytes(config: ModelConfig) -> int:
    return 2 * 4 * PAGE * config.layers * config.kv_heads * config.head_dim
