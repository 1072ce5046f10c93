"""The native step on 64-bit Arm, cross-compiled and emulated where both tools are there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from native_cases import FORMATS, SHAPES, native_runner, pages, require, run, text
from native_elsewhere import Elsewhere, build, write_model
from tiny_llama import tiny
from torch import Tensor

from ponder.runtime.kernels import native
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.runners.native_llama import WeightFormat
from ponder.runtime.runners.torch_llama import Llama
from ponder.runtime.runners.torch_runner import TorchRunner

COMPILER = "aarch64-linux-gnu-g++"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
SETS = ("neon_dotprod", "neon", "portable")
LENGTH = 75
ERROR: dict[WeightFormat, float] = {
    "float32": 1e-5,
    "bfloat16": 0.04,
    "int8": 0.15,
    "int4": 0.8,
}
"""As `test_native_step.py` has it for this machine."""


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    require("")
    emulator = next(filter(shutil.which, EMULATORS), None)
    if not shutil.which(COMPILER) or emulator is None:
        pytest.skip(f"needs {COMPILER} and an emulator, one of {', '.join(EMULATORS)}")
    return build(COMPILER, (emulator,), tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module", params=["three queries a head", "one query a head"])
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LoadedModel, Path]:
    require("")
    model = tiny(replace(SHAPES[request.param], layers=1))
    path = tmp_path_factory.mktemp("model") / "model"
    write_model(model, text(LENGTH, 1), path)
    return model, path


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


def test_a_processor_gets_what_it_has(arm: Elsewhere) -> None:
    assert arm().split()[:3] == [b"neon_dotprod", b"neon", b"portable"]
    old = Elsewhere(emulator=(*arm.emulator, "-cpu", "cortex-a53"), program=arm.program)
    assert old().split()[:2] == [b"neon", b"portable"]


@pytest.mark.parametrize("weight_format", FORMATS)
@pytest.mark.parametrize("isa", SETS)
def test_it_computes_what_torch_computes(
    arm: Elsewhere, case: tuple[LoadedModel, Path], isa: str, weight_format: WeightFormat
) -> None:
    model, path = case
    reference = TorchRunner(Llama(model.config, model.weights))
    reference.reserve(LENGTH)
    want = run(reference, text(LENGTH, 1), pages(0, LENGTH))
    got = arm.logits(isa, weight_format, LENGTH, model, path)
    assert error(got, want) < ERROR[weight_format]
    for chunk in (1, 7):
        again = arm.logits(isa, weight_format, chunk, model, path)
        assert torch.equal(again.view(torch.int32), got.view(torch.int32))


@pytest.mark.parametrize("weight_format", FORMATS)
def test_it_computes_avx2_to_the_bit(
    arm: Elsewhere,
    case: tuple[LoadedModel, Path],
    weight_format: WeightFormat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("avx2")
    monkeypatch.setenv(native.SWITCH, "avx2")
    model, path = case
    want = run(native_runner(model, weight_format), text(LENGTH, 1), pages(0, LENGTH))
    for isa in ("neon_dotprod", "neon"):
        got = arm.logits(isa, weight_format, LENGTH, model, path)
        assert torch.equal(got.view(torch.int32), want.view(torch.int32)), isa
