"""The native step against torch, on every instruction set this machine has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from native_cases import (
    FORMATS,
    PAGES,
    SETS,
    SHAPES,
    model_of,
    native_runner,
    pages,
    require,
    run,
    text,
)
from torch import Tensor

from ponder.runtime import InputError, ModelError
from ponder.runtime.kernels import native
from ponder.runtime.models import LoadedModel, load_model
from ponder.runtime.runners.api import Runner, Work
from ponder.runtime.runners.choice import choose_runner, describe_platform
from ponder.runtime.runners.native_llama import NativeLlama, WeightFormat
from ponder.runtime.runners.torch_llama import Llama
from ponder.runtime.runners.torch_runner import TorchRunner

ERROR: dict[WeightFormat, float] = {
    "float32": 1e-5,
    "bfloat16": 0.04,
    "int8": 0.15,
    "int4": 0.8,
}
"""Norm of the difference over norm of the logits, at most. These random models magnify rounding:
their weights have a standard deviation of 0.3.
"""


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    require(name)
    monkeypatch.setenv(native.SWITCH, name)
    return name


def torch_runner(model: LoadedModel) -> TorchRunner:
    runner = TorchRunner(Llama(model.config, model.weights))
    runner.reserve(PAGES)
    return runner


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("shape", SHAPES)
def test_it_computes_what_torch_computes(isa: str, shape: str) -> None:
    model = model_of(shape)
    tokens = text(300, seed=1)
    want = run(torch_runner(model), tokens, pages(3, 300), [70, 71, 290])
    for weight_format in FORMATS:
        runner = native_runner(model, weight_format)
        assert runner.description == f"{weight_format}, native {isa}"
        got = run(runner, tokens, pages(3, 300), [70, 71, 290])
        assert got.shape == want.shape
        assert error(got, want) < ERROR[weight_format]
        if weight_format == "float32":
            assert float((got - want).abs().max() / want.abs().max()) < 1e-4
            assert torch.equal(got.argmax(-1), want.argmax(-1))


def tree_works(model: LoadedModel, runner: Runner) -> list[Work]:
    """A prefix of 90 tokens, forked in the middle of a page; tails of one to seven tokens."""
    prefix = pages(0, 90)
    runner.hidden([Work(tokens=text(90, 2), slots=prefix, wanted=1)])
    return [
        Work(
            tokens=text(1 + i % 7, seed=i),
            slots=np.concatenate([prefix, 16 * (10 + i) + 10 + np.arange(1 + i % 7)]),
            wanted=1 + i % 7,
        )
        for i in range(40)
    ]


def test_forks_compute_what_torch_computes(isa: str) -> None:
    model = model_of("three queries a head")
    reference, runner = torch_runner(model), native_runner(model)
    want = reference.logits(reference.hidden(tree_works(model, reference)))
    got = runner.logits(runner.hidden(tree_works(model, runner)))
    assert float((got - want).abs().max() / want.abs().max()) < 1e-4


def test_whole_numbers_agree_on_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 sums are exact, so only attention and norms may differ between instruction sets."""
    require("")
    model = model_of("one query a head")
    results: list[Tensor] = []
    for name in native.instruction_sets():
        monkeypatch.setenv(native.SWITCH, name)
        results.append(run(native_runner(model, "int8"), text(40, 3), pages(0, 40)))
    for other in results[1:]:
        assert error(other, results[0]) < 0.02


@pytest.mark.parametrize(
    ("weight_format", "largest"),
    [("float32", 1e-4), ("bfloat16", 0.03), ("int8", 0.06), ("int4", 0.06)],
)
def test_smollm2(
    smollm2: LoadedModel, hf_smollm2: Any, weight_format: WeightFormat, largest: float
) -> None:
    require("")
    tokens = smollm2.tokenizer.encode("Two trains leave at noon; one of them drives 60 km an hour.")
    with torch.inference_mode():
        want = hf_smollm2(torch.tensor([tokens])).logits[0]
    got = run(native_runner(smollm2, weight_format), tokens, pages(0, len(tokens)))
    assert float((got - want).abs().max() / want.abs().max()) < largest
    if weight_format == "float32":
        assert torch.equal(got.argmax(-1), want.argmax(-1))


def test_greedy_smollm2_says_what_transformers_says(smollm2: LoadedModel, hf_smollm2: Any) -> None:
    require("")
    runner = native_runner(smollm2)
    tokens = smollm2.tokenizer.encode("The capital of France is")
    given = len(tokens)
    slots = pages(5, given + 24)
    chosen = run(runner, tokens, slots)[-1].argmax()
    for _ in range(24):
        tokens.append(int(chosen))
        work = Work(tokens=tokens[-1:], slots=slots[: len(tokens)], wanted=1)
        chosen = runner.logits(runner.hidden([work]))[0].argmax()
    with torch.inference_mode():
        want = hf_smollm2(torch.tensor([tokens])).logits[0].argmax(-1)
    assert tokens[given:] == want[given - 1 : -1].tolist()


def test_what_other_branches_left_behind_is_not_read() -> None:
    """Pages come back with old numbers in them, not-a-numbers perhaps."""
    require("")
    model = model_of("three queries a head")
    for weight_format in FORMATS:
        clean, dirty = native_runner(model, weight_format), native_runner(model, weight_format)
        for half in dirty.memory:
            half[:] = 0xFF  # a NaN in float32 and in bfloat16
        tokens = text(75, 4)
        cuts = [33, 34, 35]
        got = run(dirty, tokens, pages(2, 75), cuts)
        assert torch.equal(got, run(clean, tokens, pages(2, 75), cuts))


FOUR_BITS = {"float32": 5e-6, "bfloat16": 0.02, "int8": 0.05, "int4": 0.05}
"""Where int4 takes the file's levels over, it is no worse than int8."""


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("Q4_0", FOUR_BITS),
        ("Q4_1", FOUR_BITS),
        ("Q4_K", FOUR_BITS),
        ("Q8_0", FOUR_BITS | {"int4": 0.3}),
        # Its random bytes make weights of a standard deviation of 14, which magnify rounding.
        ("Q6_K", {"float32": 2e-4, "bfloat16": 0.4, "int8": 0.5, "int4": 0.8}),
    ],
)
def test_every_kind_of_file_runs_in_every_format(
    tmp_path: Path, kind: str, limits: dict[str, float]
) -> None:
    require("")
    model = load_model(str(tiny_models.write(tmp_path / "m.gguf", kind=kind)))
    tokens = text(20, 5, vocabulary=model.config.vocabulary)
    want = run(torch_runner(model), tokens, pages(0, 20))
    for weight_format in FORMATS:
        got = run(native_runner(model, weight_format), tokens, pages(0, 20))
        assert error(got, want) < limits[weight_format], weight_format


def test_weights_that_are_not_finite_show_in_the_logits() -> None:
    require("")
    model = model_of("one query a head")
    weights = dict(model.weights)
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name].clone()
    weights[name][3, 5] = torch.nan
    for weight_format in FORMATS:
        runner = NativeLlama(model.config, weights, weight_format=weight_format, threads=1)
        runner.reserve(4)
        assert bool(run(runner, [1, 2], pages(0, 2)).isnan().all())


@pytest.mark.parametrize(
    "work",
    [
        Work(tokens=[259], slots=pages(0, 1), wanted=1),
        Work(tokens=[-1], slots=pages(0, 1), wanted=1),
        Work(tokens=[1], slots=pages(PAGES, 1), wanted=1),
        Work(tokens=[1], slots=pages(0, 600), wanted=1),
    ],
    ids=["token", "negative token", "place", "position"],
)
def test_numbers_out_of_range_are_refused(work: Work) -> None:
    require("")
    with pytest.raises(ModelError, match="out of range"):
        native_runner(model_of("three queries a head")).hidden([work])


def test_an_unknown_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require("")
    monkeypatch.setenv(native.SWITCH, "avx51")
    with pytest.raises(InputError, match=r"'avx51'.*known: .*portable"):
        native_runner(model_of("narrow heads"))


def test_torch_serves_where_the_native_step_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("narrow heads")
    assert choose_runner(model, kernels="torch", threads=1).description == "float32, torch"
    monkeypatch.setattr(native, "library", lambda: None)
    assert choose_runner(model, threads=1).description == "float32, torch"
    assert describe_platform().kernels == "torch"
    assert describe_platform().weight_formats == ("float32",)
    with pytest.raises(InputError, match="not built"):
        choose_runner(model, weight_format="int8", threads=1)
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        choose_runner(model, weight_format="bfloat1", threads=1)  # type: ignore[arg-type]


def test_the_doctor_hears_of_the_native_step() -> None:
    require("")
    platform = describe_platform()
    assert platform.kernels == "native"
    assert platform.instruction_set in platform.instruction_sets
    assert platform.instruction_sets[-1] == "portable"
    assert "amx_emulated" not in platform.instruction_sets
    assert "PONDER_ISA=amx_emulated" in platform.on_request


def test_what_is_there_on_request_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    require("")
    monkeypatch.delenv(native.SWITCH, raising=False)
    assert native.chosen_instruction_set() in describe_platform().instruction_sets
