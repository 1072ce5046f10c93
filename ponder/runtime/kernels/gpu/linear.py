"""x @ w.T with one order of sums, whatever the number of rows.

The inner dimension is cut into chunks of CHUNK: each is summed from zero by the matrix units, then
chunks are added from the left. With few rows the chunks are programs of their own (there would be
too few programs to fill a GPU) and a second kernel adds them; with many, one program does all.
cuBLAS picks its order by the number of rows, so it cannot be used where a batch must not show in a
result (DESIGN 4.1). That tiles of 64 and 128 rows sum alike rests on the matrix instruction, which
takes the inner dimension in the same steps for each; `benchmarks/kernels_gpu.py` checks it to the
bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ponder.runtime.kernels.gpu.language import Data, constexpr, jit, tl
from ponder.runtime.kernels.gpu.launch import TILE, architecture, ceil_div, interpreted, multiply

CHUNK = 512
FEW_ROWS = 64
"""Up to so many rows the product is bound by reading the weights."""
ENOUGH = 264
"""Programs that fill a GPU: two for each multiprocessor of an H100."""


@jit(do_not_specialize=("rows",))
def _product(
    x: Data,
    weight: Data,
    bias: Data,
    out: Data,
    rows: Data,
    columns: Data,
    inner: Data,
    chunks: Data,
    ROWS: constexpr,
    COLUMNS: constexpr,
    INNER: constexpr,
    CHUNK: constexpr,
    BIAS: constexpr,
    WIDEN: constexpr,
) -> Data:
    # Neighbours share the weights' tile, so that it is read from memory once.
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(2)
    k = tl.arange(0, INNER)
    x_rows = x + row.to(tl.int64)[:, None] * inner
    weight_rows = weight + column.to(tl.int64)[None, :] * inner
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for chunk in range(part * chunks, (part + 1) * chunks):
        acc = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(chunk * CHUNK, tl.minimum((chunk + 1) * CHUNK, inner), INNER):
            at = start + k
            a = tl.load(
                x_rows + at[None, :], mask=(row < rows)[:, None] & (at < inner)[None, :], other=0.0
            )
            b = tl.load(
                weight_rows + at[:, None],
                mask=(column < columns)[None, :] & (at < inner)[:, None],
                other=0.0,
            )
            acc = multiply(a, b, acc, WIDEN)
        total += acc
    if BIAS:
        total += tl.load(bias + column, mask=column < columns, other=0.0)[None, :]
    into = (part * rows + row).to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(out + into, total, mask=(row < rows)[:, None] & (column < columns)[None, :])


@jit(do_not_specialize=("size",))
def _add_chunks(
    parts: Data,
    bias: Data,
    out: Data,
    size: Data,
    columns: Data,
    count: Data,
    LANES: constexpr,
    BIAS: constexpr,
) -> Data:
    at = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    total = tl.zeros([LANES], tl.float32)
    for part in range(count):
        total += tl.load(parts + part * size + at, mask=at < size, other=0.0)
    if BIAS:
        total += tl.load(bias + at % columns, mask=at < size, other=0.0)
    tl.store(out + at, total, mask=at < size)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """[rows, out], as `dtype`, from [rows, in].

    Args:
        x: contiguous.
        weight: [out, in], of x's type.
        bias: float32 [out].
        dtype: of the result; sums are float32.
    """
    (rows, inner), columns = x.shape, len(weight)
    chunks = ceil_div(inner, CHUNK)
    out = torch.empty(rows, columns, dtype=dtype, device=x.device)
    few = rows <= FEW_ROWS
    tile = TILE if few else 2 * TILE
    grid = (ceil_div(rows, tile), ceil_div(columns, tile))
    split = few and grid[0] * grid[1] < ENOUGH and chunks > 1
    parts = (
        torch.empty(chunks, rows, columns, dtype=torch.float32, device=x.device) if split else out
    )
    chosen = architecture(x.device)
    _product[(*grid, chunks if split else 1)](
        x,
        weight,
        x if bias is None else bias,
        parts,
        rows,
        columns,
        inner,
        1 if split else chunks,
        ROWS=tile,
        COLUMNS=tile,
        INNER=128 // x.element_size(),
        CHUNK=CHUNK,
        BIAS=bias is not None and not split,
        WIDEN=interpreted(),
        **(chosen.few_rows if few else chosen.many_rows).options(),
    )
    if split:
        _add_chunks[(ceil_div(rows * columns, 1024),)](
            parts,
            x if bias is None else bias,
            out,
            rows * columns,
            columns,
            chunks,
            LANES=1024,
            BIAS=bias is not None,
            enable_fp_fusion=False,
        )
    return out
