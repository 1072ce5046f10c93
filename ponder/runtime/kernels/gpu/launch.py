"""How kernels are launched: tiles for each architecture, written down and not timed at run time, so
that equal machines sum alike.

Numbers for sm_90 (H100) were reasoned from its shared memory (227 KiB) and registers (64 Ki a
multiprocessor); `benchmarks/kernels_gpu.py` says what they reach.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from ponder.runtime.errors import CapabilityError
from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl

TILE = 64
"""Rows of every matrix tile, whatever the batch: one instruction shape (a Hopper warp group takes
64 rows), so one order of sums. Decode fills few of them, which costs idle arithmetic and no memory.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Warps and pipeline stages of a kernel."""

    warps: int
    stages: int

    def options(self) -> dict[str, Any]:  # as kernels take them
        # Without contraction, a partial folded inside a kernel equals one folded between kernels.
        return {
            "num_warps": self.warps,
            "num_stages": self.stages,
            "enable_fp_fusion": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Launches by kernel."""

    attention: Launch
    wide_attention: Launch
    """Heads above 64."""
    few_rows: Launch
    """Matrix products, 64 x 64 tiles."""
    many_rows: Launch
    """Matrix products, 128 x 128 tiles."""


AMPERE = Architecture(
    attention=Launch(warps=4, stages=2),
    wide_attention=Launch(warps=8, stages=2),
    few_rows=Launch(warps=4, stages=3),
    many_rows=Launch(warps=8, stages=3),
)
HOPPER = Architecture(
    attention=Launch(warps=4, stages=3),
    wide_attention=Launch(warps=8, stages=3),
    few_rows=Launch(warps=4, stages=5),
    many_rows=Launch(warps=8, stages=4),
)
_BY_CAPABILITY = {8: AMPERE, 9: HOPPER}


def interpreted() -> bool:
    """Triton's own switch; it must be set before this package is first imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def architecture(device: torch.device) -> Architecture:
    """Raises `CapabilityError` where nothing is known of the device."""
    if device.type == "cpu" and interpreted():
        return HOPPER
    reason = why_not(device)
    if reason:
        raise CapabilityError(reason)
    return _BY_CAPABILITY[torch.cuda.get_device_capability(device)[0]]


def why_not(device: torch.device) -> str:
    """Empty where kernels run on the device."""
    if device.type != "cuda":
        return (
            f"Triton kernels run on CUDA, not on {str(device)!r}; set TRITON_INTERPRET=1 to "
            "interpret them on the CPU, slowly"
        )
    major, minor = torch.cuda.get_device_capability(device)
    if major in _BY_CAPABILITY:
        return ""
    known = " and ".join(f"{known}.x" for known in _BY_CAPABILITY)
    return (
        f"its compute capability is {major}.{minor}, and kernels/gpu/launch.py has numbers for "
        f"{known}"
    )


def ceil_div(number: int, by: int) -> int:
    return -(-number // by)


def power_of_two(number: int, least: int = 1) -> int:
    """The smallest one that is not below."""
    return max(least, 1 << (number - 1).bit_length())


@jit()
def multiply(a: Data, b: Data, sums: Data, WIDEN: constexpr) -> Data:
    """`sums` plus the matrix product, in float32. Float32 factors are multiplied as three products
    of their halves (tf32x3), since the matrix units take no more bits at a time.
    """
    # The interpreter cannot multiply bfloat16, and its order of sums depends on where in the tile a
    # row lies; in float64 neither shows.
    if WIDEN:
        return sums + tl.dot(a.to(tl.float64), b.to(tl.float64), out_dtype=tl.float64).to(
            tl.float32
        )
    return tl.dot(a, b, sums, input_precision="tf32x3")
