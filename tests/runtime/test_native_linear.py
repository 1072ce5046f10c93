"""Matrix products of the native step against exact references, in each weight format."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from native_cases import FORMATS, SETS, require

from ponder.runtime.kernels import native

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
GROUP = 32
SIZES = ((70, 100), (16, 32), (33, 300), (130, 576))
"""Columns and inner dimension: whole panels and groups, and not."""


def normal(*shape: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def linear(isa: str, form: str, weights: Floats, x: Floats) -> Floats:
    out = np.full((len(x), len(weights)), np.nan, np.float32)
    w, rows = np.ascontiguousarray(weights), np.ascontiguousarray(x)
    answer = native.loaded().ponder_linear(
        isa.encode(), native.FORMATS[form], w.ctypes.data, *w.shape, rows.ctypes.data, len(x),
        out.ctypes.data,
    )  # fmt: skip
    native.check(answer, "a product")
    return out


def in_groups(values: Floats) -> Doubles:
    """[rows, groups, 32], the last group filled up with zeros."""
    rows, inner = values.shape
    padded = np.zeros((rows, -(-inner // GROUP) * GROUP))
    padded[:, :inner] = values
    return padded.reshape(rows, -1, GROUP)


def half(values: Doubles) -> Doubles:
    return values.astype(np.float16).astype(np.float64)


def bytes_of(values: Doubles, scale: Doubles) -> Doubles:
    safe = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.rint((values.astype(np.float32) / safe).astype(np.float32)).clip(-127, 127)


def rounded_rows(x: Floats) -> Doubles:
    """Activations as groups of signed bytes times a scale: what the product sees."""
    groups = in_groups(x)
    top = np.abs(groups).max(-1, keepdims=True).astype(np.float32)
    inverse = np.where(top > 0, np.float32(127) / np.where(top > 0, top, 1), 0).astype(np.float32)
    whole = np.rint(groups.astype(np.float32) * inverse)
    rounded: Doubles = whole * (top / np.float32(127)).astype(np.float32)
    return rounded


def as_int8(weights: Floats) -> Doubles:
    groups = in_groups(weights)
    scale = half(np.abs(groups).max(-1, keepdims=True).astype(np.float32) / np.float32(127))
    return bytes_of(groups, scale) * scale


def as_int4(weights: Floats) -> Doubles:
    """Sixteen levels from the least to the largest of a group; of whole groups."""
    groups = in_groups(weights)
    least = half(groups.min(-1, keepdims=True))
    scale = half((groups.max(-1, keepdims=True) - least) / 15)
    safe = np.where(scale > 0, scale, 1)
    return np.rint((groups - least) / safe).clip(0, 15) * scale + least


REFERENCES: dict[str, Callable[[Floats], Doubles]] = {"int8": as_int8, "int4": as_int4}


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest) -> str:
    require(request.param)
    name: str = request.param
    return name


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", REFERENCES)
def test_grouped_products_are_those_of_the_rounded_numbers(
    isa: str, form: str, size: tuple[int, int]
) -> None:
    columns, inner = size
    if form == "int4":
        inner = -(-inner // GROUP) * GROUP  # in a group cut short, padding is no weight
    weights, x = normal(columns, inner, seed=1), normal(29, inner, seed=2)
    weights[3] = 0
    x[5, :GROUP] = 0
    want = np.einsum("rgi,cgi->rc", rounded_rows(x), REFERENCES[form](weights))
    assert np.abs(linear(isa, form, weights, x) - want).max() < 2e-5 * np.abs(want).max()


@pytest.mark.parametrize("form", FORMATS)
def test_rounding_is_as_coarse_as_the_format(isa: str, form: str) -> None:
    weights, x = normal(130, 300, seed=3), normal(9, 300, seed=4)
    want = x @ weights.T
    error = np.linalg.norm(linear(isa, form, weights, x) - want) / np.linalg.norm(want)
    lowest, highest = {
        "float32": (0, 1e-6),
        "bfloat16": (1e-3, 4e-3),
        "int8": (3e-3, 0.012),
        "int4": (0.04, 0.1),
    }[form]
    assert lowest <= error <= highest


@pytest.mark.parametrize("form", FORMATS)
def test_a_row_is_the_same_in_every_size_of_tile(isa: str, form: str) -> None:
    weights, x = normal(70, 700, seed=5), normal(137, 700, seed=6)
    want = linear(isa, form, weights, x)
    for rows in (1, 2, 3, 5, 8, 9, 64, 65):
        got = linear(isa, form, weights, x[:rows])
        assert np.array_equal(got.view(np.int32), want[:rows].view(np.int32)), rows
    # Panels alone, so that tiles are narrower.
    for columns in (16, 32):
        got = linear(isa, form, weights[:columns], x)
        assert np.array_equal(got.view(np.int32), want[:, :columns].view(np.int32)), columns


@pytest.mark.parametrize("form", REFERENCES)
def test_sets_round_alike(form: str) -> None:
    """Whole-number sums are exact; only the order and rounding of a few scaled sums may differ."""
    require("")
    weights, x = normal(48, 640, seed=7), normal(20, 640, seed=8)
    results = [linear(name, form, weights, x) for name in native.instruction_sets()]
    for other in results[1:]:
        assert np.abs(other - results[0]).max() < 1e-5 * np.abs(results[0]).max()


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1])
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1e-3, 0.05, 3.0]))
def test_int4_takes_over_the_levels_of_gguf(kind: Kind, seed: int, size: float) -> None:
    """Unit vectors read the weights back: each is the file's own, to the last bit but one."""
    require("")
    weights = dequantize(quantize(normal(16, 64, seed=seed) * np.float32(size), kind), kind)
    x = np.eye(64, dtype=np.float32) * 127
    got = linear("", "int4", weights, x).T / 127
    assert np.abs(got - weights).max() <= 3e-7 * np.abs(weights).max()


def test_int8_takes_over_the_bytes_of_gguf() -> None:
    require("")
    weights = dequantize(quantize(normal(48, 96, seed=9), Kind.Q8_0), Kind.Q8_0)
    got = linear("", "int8", weights, np.eye(96, dtype=np.float32) * 127).T / 127
    assert np.abs(got - weights).max() <= 3e-7 * np.abs(weights).max()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_row_and_its_column(isa: str, form: str, bad: float) -> None:
    weights, x = normal(20, 100, seed=10), normal(4, 100, seed=11)
    clean = linear(isa, form, weights, x)
    weights[7, 40] = bad
    x[2, 99] = bad
    got = linear(isa, form, weights, x)
    assert not np.isfinite(got[2]).any()
    assert not np.isfinite(got[:, 7]).any()
    rest = np.ix_([0, 1, 3], [c for c in range(20) if c != 7])
    assert np.array_equal(got[rest], clean[rest])


@pytest.mark.parametrize("form", REFERENCES)
def test_tiny_and_huge_numbers(isa: str, form: str) -> None:
    """A group of zeros, numbers under float32's normal range, and weights near half's limit."""
    weights, x = np.zeros((3, 64), np.float32), np.zeros((3, 64), np.float32)
    weights[1] = 60_000 * np.sign(normal(64, seed=12))
    x[0] = 1e-40
    x[1] = np.sign(weights[1])
    got = linear(isa, form, weights, x)
    assert (got[:, [0, 2]] == 0).all()
    assert (got[[0, 2]] == 0).all()
    assert got[1, 1] == pytest.approx(60_000 * 64, rel=2e-3)
