"""Root-mean-square norms and log-sum-exps, each row in one fixed order.

Torch's reductions pick their order by the number of rows, so a row's last bits would tell how many
others there were.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import ceil_div, power_of_two

BLOCK = 1024
NUMBERS = 2048
"""That a program norms: a row, or several short ones."""


@jit(do_not_specialize=("count",))
def _norm(
    x: Data,
    weight: Data,
    out: Data,
    count: Data,
    epsilon: Data,
    NORMED: constexpr,
    HEADS: constexpr,
    VECTORS: constexpr,
    WIDTH: constexpr,
    WIDE: constexpr,
) -> Data:
    vector = tl.program_id(0) * VECTORS + tl.arange(0, VECTORS)
    head = vector % NORMED
    d = tl.arange(0, WIDE)
    live = (vector < count)[:, None] & (d < WIDTH)[None, :]
    at = ((vector // NORMED).to(tl.int64) * HEADS + head)[:, None] * WIDTH + d[None, :]
    value = tl.load(x + at, mask=live, other=0.0).to(tl.float32)
    scale = tl.load(weight + head[:, None] * WIDTH + d[None, :], mask=live, other=0.0)
    size = tl.sqrt(tl.sum(value * value, 1) / WIDTH + epsilon)
    tl.store(out + at, value / size[:, None] * scale, mask=live)


@jit()
def _log_sum_exp(x: Data, out: Data, width: Data, BLOCK: constexpr) -> Data:
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, width, BLOCK):
        at = start + lane
        top = tl.maximum(
            top,
            tl.load(x + row * width + at, mask=at < width, other=float("-inf")),
            propagate_nan=tl.PropagateNan.ALL,
        )
    high = tl.max(top, 0)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at = start + lane
        total += tl.exp(tl.load(x + row * width + at, mask=at < width, other=float("-inf")) - high)
    tl.store(out + row, high + tl.log(tl.sum(total, 0)))


def normed(x: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
    """RMS norm of each row of [rows, width], times `weight` [width], as `dtype`."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    _launch(x[:, None], weight[None], out, epsilon)
    return out


def norm_heads(x: Tensor, weight: Tensor, epsilon: float) -> None:
    """RMS norm, in place, of the first heads of [rows, all heads, head_dim]: as many as `weight`
    [heads, head_dim] has.
    """
    _launch(x, weight, x, epsilon)


def _launch(x: Tensor, weight: Tensor, out: Tensor, epsilon: float) -> None:
    rows, heads, width = x.shape
    wide = power_of_two(width)
    vectors = max(1, NUMBERS // wide)
    _norm[(ceil_div(rows * len(weight), vectors),)](
        x,
        weight,
        out,
        rows * len(weight),
        epsilon,
        NORMED=len(weight),
        HEADS=heads,
        VECTORS=vectors,
        WIDTH=width,
        WIDE=wide,
        enable_fp_fusion=False,
    )


def log_sum_exp(x: Tensor) -> Tensor:
    """[rows] from float32 [rows, width]; not finite where a row is not."""
    out = torch.empty(len(x), dtype=torch.float32, device=x.device)
    _log_sum_exp[(len(x),)](x, out, x.shape[1], BLOCK=BLOCK, enable_fp_fusion=False)
    return out
