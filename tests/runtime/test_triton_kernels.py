"""Matrix products, norms and rotation in Triton against torch."""

from __future__ import annotations

import pytest
import torch
from gpu_cases import DEVICE, PAGES, memory, table, turned
from torch.nn import functional

from ponder.runtime.kernels.gpu.linear import linear
from ponder.runtime.kernels.gpu.norm import log_sum_exp, norm_heads, normed
from ponder.runtime.kernels.gpu.rotation import move_keys, place_keys, turn_queries

CHANCE = torch.Generator().manual_seed(0)
WIDTH = 20


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=CHANCE).to(DEVICE, dtype)


def whole(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
def test_products_have_one_order_for_any_number_of_rows(dtype: torch.dtype, bias: bool) -> None:
    x, weight = numbers(70, 1100, dtype=dtype), numbers(70, 1100, dtype=dtype)
    added = numbers(70) if bias else None
    many = linear(x, weight, added, torch.float32)
    want = functional.linear(x.double(), weight.double(), None if added is None else added.double())
    torch.testing.assert_close(many.double(), want, rtol=0, atol=1e-4)
    for few in (x[:3], x[40:41], x[5:69]):
        start = (few.data_ptr() - x.data_ptr()) // x.element_size() // 1100
        assert torch.equal(
            linear(few, weight, added, torch.float32), many[start : start + len(few)]
        )


def test_norms_and_sums() -> None:
    x, weight, heads = numbers(5, 100), numbers(100), numbers(3, WIDTH)
    want = functional.rms_norm(x, (100,), weight, 1e-5)
    torch.testing.assert_close(normed(x, weight, 1e-5, torch.float32), want)
    qkv = numbers(4, 5, WIDTH)
    expected = functional.rms_norm(qkv, (WIDTH,), None, 1e-5)[:, :3] * heads
    rest = qkv[:, 3:].clone()
    norm_heads(qkv, heads, 1e-5)
    torch.testing.assert_close(qkv[:, :3], expected)
    assert torch.equal(qkv[:, 3:], rest)
    logits = 20 * numbers(3, 2500)
    torch.testing.assert_close(log_sum_exp(logits), logits.logsumexp(-1))


def test_keys_are_placed_rotated_and_values_as_they_are() -> None:
    heads, kv_heads = 6, 2
    keys, values = memory(kv_heads, WIDTH, torch.float32)
    before = keys.clone()
    qkv = numbers(4, heads + 2 * kv_heads, WIDTH)
    place_keys(
        qkv, whole(0, 7, 990, 3), whole(5, 40, 16 * PAGES - 1, -1), table(WIDTH), (keys, values)
    )
    for row, (home, page, offset) in enumerate([(0, 0, 5), (7, 2, 8), (990, PAGES - 1, 15)]):
        want = turned(qkv[row, heads : heads + kv_heads].cpu(), home)
        torch.testing.assert_close(keys[page, :, offset].cpu().double(), want, rtol=0, atol=1e-4)
        assert torch.equal(values[page, :, offset], qkv[row, heads + kv_heads :])
    assert int((keys != before).any(-1).any(1).sum()) == 3


def test_queries_turn_both_ways() -> None:
    qkv = numbers(9, 10, WIDTH)
    rows, angles = [3, 3, 8], [4, -900, 0]
    queries = turn_queries(qkv, 2, whole(*rows), whole(*angles), table(WIDTH))
    for query, row, angle in zip(queries, rows, angles, strict=True):
        want = turned(qkv[row, :6].cpu(), angle)
        torch.testing.assert_close(query.cpu().double(), want, rtol=0, atol=1e-3)


def test_moved_pages_hold_what_their_new_home_would() -> None:
    layers = torch.stack([memory(2, WIDTH, torch.float32, seed)[0] for seed in (1, 2)])
    before = layers.clone()
    move_keys(layers, whole(1, 2), whole(1, 70), whole(-13, 21), table(WIDTH))
    for source, target, delta in ((1, 1, -13), (2, 70, 21)):
        want = turned(before[:, source].cpu(), delta)
        torch.testing.assert_close(layers[:, target].cpu().double(), want, rtol=0, atol=1e-5)
    rest = [page for page in range(PAGES) if page not in (1, 70)]
    assert torch.equal(layers[:, rest], before[:, rest])
