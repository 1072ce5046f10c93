"""Every family and rope scaling against transformers, float32: layer by layer, logits, and greedy
tokens, well past the length the scaled ones were trained on; and GGUF against safetensors.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import tiny_families
import tiny_models
import torch
from tiny_families import CASES, LLAMA3, ORIGINAL, YARN

from ponder.runtime import BranchPath, InputError, Sampling
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.view import View
from ponder.runtime.kernels import native
from ponder.runtime.models import LoadedModel, ModelConfig, load_model
from ponder.runtime.models.rotary import rotary_table, rotate, score_scale
from ponder.runtime.runners.api import PAGE, Work
from ponder.runtime.runners.choice import choose_runner
from ponder.runtime.runners.memory import allocate_memory
from ponder.runtime.runners.plan import make_plan
from ponder.runtime.runners.torch_llama import Llama

LENGTH, GREEDY = 3 * ORIGINAL, 32
TOLERANCE = 1e-5
UNSAID = {"truncate", "attention_factor", "mscale"}
IN_GGUF = [name for name, (_, _, rope) in CASES.items() if not rope.keys() & UNSAID]
"""The format has no words for the rest."""


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(case: str) -> Any:
    return tiny_families.reference(case)


@pytest.fixture(scope="module")
def directory(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_families.save(tmp_path_factory.mktemp("family") / "tiny", theirs)


@pytest.fixture(scope="module")
def ours(directory: Path) -> LoadedModel:
    return load_model(str(directory))


def far(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest deviation, relative to the largest value."""
    return float((got - want).abs().max() / want.abs().max())


def tokens(count: int = LENGTH) -> list[int]:
    return [4 + (i * i * 7 + i * 13) % (len(tiny_models.TOKENS) - 4) for i in range(count)]


def normed_states(model: LoadedModel, layers: int, chunks: list[list[int]]) -> torch.Tensor:
    """What comes out of the first `layers` layers, normed: [tokens, hidden]."""
    config = replace(model.config, layers=layers)
    pool = PagePool(1 + sum(map(len, chunks)) // PAGE)
    memory, decoder = allocate_memory(config, pool.total), Llama(config, model.weights)
    view, states = View(pool), list[torch.Tensor]()
    for chunk in chunks:
        view.grow(len(chunk))
        work = Work(tokens=chunk, slots=view.slots, wanted=len(chunk))
        states.append(decoder.hidden(make_plan([work]), memory))
    return torch.cat(states)


@torch.inference_mode()
def test_layer_by_layer(ours: LoadedModel, theirs: Any) -> None:
    given = tokens()
    found = theirs(torch.tensor([given]), output_hidden_states=True)
    *between, last = found.hidden_states[1:]
    want = [*(theirs.model.norm(state) for state in between), last]
    chunks = [given[:50], given[50:51], given[51:]]
    for i, state in enumerate(want):
        assert far(normed_states(ours, i + 1, chunks), state[0]) < TOLERANCE, f"layer {i}"
    logits = Llama(ours.config, ours.weights).logits(normed_states(ours, len(want), [given]))
    assert far(logits, found.logits[0]) < TOLERANCE


def run(model: LoadedModel, given: list[int]) -> tuple[torch.Tensor, list[int]]:
    """The engine's logits after `given`, and its greedy tokens."""

    async def body() -> tuple[torch.Tensor, list[int]]:
        engine = LocalEngine(model, pages=40, step_tokens=40)
        try:
            branch = await engine.open(model.tokenizer.decode(given), path=BranchPath(0))
            assert list(branch.tokens) == given
            logits = torch.tensor(await branch.logits())
            drawn: list[int] = []
            while len(drawn) < GREEDY:  # an end token ends a segment, not this comparison
                more = Sampling(max_tokens=GREEDY - len(drawn), temperature=0)
                drawn += (await branch.extend(more)).tokens
            branch.close()
            return logits, drawn
        finally:
            await engine.close()

    return asyncio.run(body())


def test_the_engine_says_the_same(ours: LoadedModel, theirs: Any) -> None:
    given = ours.tokenizer.encode("Reason step by step; " * 4)
    assert len(given) > 2 * ORIGINAL
    logits, drawn = run(ours, given)
    with torch.inference_mode():
        want = theirs(torch.tensor([given + drawn[:-1]])).logits[0, len(given) - 1 :]
    assert far(logits, want[0]) < TOLERANCE
    assert drawn == want.argmax(-1).tolist()


def test_the_native_step_takes_what_it_runs_and_says_why_not(case: str, ours: LoadedModel) -> None:
    """The test above ran on whatever is chosen here."""
    if not native.instruction_sets():
        pytest.skip("the native step was not built")
    _, sizes, _ = CASES[case]
    refused = sizes["head_dim"] % 16 > 0
    best = "torch" if refused else f"native {native.chosen_instruction_set()}"
    assert choose_runner(ours, threads=1).description.endswith(best)
    if refused:
        with pytest.raises(InputError, match="heads of a multiple of 16"):
            choose_runner(ours, kernels="native", threads=1)


@pytest.mark.parametrize("case", IN_GGUF, indirect=True)
def test_gguf_is_the_same_model(case: str, ours: LoadedModel, theirs: Any, tmp_path: Path) -> None:
    file = tiny_families.write_gguf(tmp_path / "tiny.gguf", case, theirs)
    found = load_model(str(file))
    assert found.weights.keys() == ours.weights.keys()
    assert all(torch.equal(found.weights[name], ours.weights[name]) for name in ours.weights)
    plain = {"rope_scaling": None, "norm_epsilon": 1.0}
    assert replace(found.config, **plain) == replace(ours.config, **plain)  # type: ignore[arg-type]  # mypy wants one type for all
    assert found.config.norm_epsilon == pytest.approx(ours.config.norm_epsilon)
    for ours_too, wanted in zip(rotary_table(found.config), rotary_table(ours.config), strict=True):
        torch.testing.assert_close(ours_too, wanted, rtol=0, atol=3e-5)
    assert score_scale(found.config) == score_scale(ours.config)
    given = tokens()
    with torch.inference_mode():
        states = normed_states(found, ours.config.layers, [given])
        assert far(states, normed_states(ours, ours.config.layers, [given])) < TOLERANCE


@pytest.mark.parametrize("family", ["qwen2", "qwen2 tied"])
def test_transformers_reads_the_same_from_gguf(family: str, tmp_path: Path) -> None:
    model = tiny_families.reference(family)
    file = tiny_families.write_gguf(tmp_path / "tiny.gguf", family, model)
    found = load_model(str(file)).weights
    for name, tensor in tiny_models.load_with_transformers(file).state_dict().items():
        if name in found or not model.config.tie_word_embeddings:
            assert torch.equal(found[name], tensor), name


CONFIG = ModelConfig(
    architecture="llama",
    layers=1,
    hidden=32,
    intermediate=8,
    heads=2,
    kv_heads=1,
    head_dim=16,
    vocabulary=9,
    norm_epsilon=1e-5,
    rope_theta=5000.0,
    context_length=128,
    tied_embeddings=True,
)


def test_a_yarn_key_rotated_on_is_a_key_rotated_once() -> None:
    """The amplitude is in the scores, not in the rotation: it cannot enter twice."""
    from ponder.runtime.models.rope_scaling import Basis, yarn

    basis = Basis(theta=5000.0, head_dim=16, where="here")
    config = replace(CONFIG, rope_scaling=yarn(basis, factor=4.0, original=32))
    assert score_scale(config) == pytest.approx(0.25 * (0.1 * numpy.log(4.0) + 1) ** 2)
    cosines, sines = rotary_table(config)
    key = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(0))

    def turn(x: torch.Tensor, position: int) -> torch.Tensor:
        return rotate(x, cosines[position, None, None], sines[position, None, None])

    torch.testing.assert_close(turn(turn(key, 70), 31), turn(key, 101))
    assert float(turn(key, 101).norm()) == pytest.approx(float(key.norm()))


# What is read, and what is refused.


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            target = tmp_path_factory.mktemp("plain") / "tiny"
            made[name] = tiny_families.save(target, tiny_families.reference(name))
        return made[name]

    return of


def config_of(
    source: Path, target: Path, change: Callable[[dict[str, Any]], object]
) -> ModelConfig:
    from ponder.runtime.models.safetensors_dir import read_config

    raw = json.loads((source / "config.json").read_text())
    change(raw)
    (target / "config.json").write_text(json.dumps(raw))
    return read_config(target / "config.json")


@pytest.mark.parametrize("name", ["llama linear", "llama llama3", "qwen2 yarn", "qwen3 yarn"])
def test_older_configs_mean_the_same(
    plain: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    def older(raw: dict[str, Any]) -> None:
        settings = raw.pop("rope_parameters")
        raw["rope_theta"] = settings.pop("rope_theta")
        raw["rope_scaling"] = settings | {"type": settings.pop("rope_type")}

    source = plain(name)
    same = config_of(source, tmp_path, lambda raw: None)
    assert same.rope_scaling is not None
    assert config_of(source, tmp_path, older) == same


def test_the_length_before_stretching(plain: Callable[[str], Path], tmp_path: Path) -> None:
    """Said beside the other settings it has the last word; not said it is the context's."""

    def beside(raw: dict[str, Any]) -> None:
        raw["original_max_position_embeddings"] = ORIGINAL
        raw["rope_parameters"]["original_max_position_embeddings"] = 7

    def unsaid(raw: dict[str, Any]) -> None:
        del raw["rope_parameters"]["original_max_position_embeddings"]
        raw["max_position_embeddings"] = ORIGINAL

    source = plain("qwen2 yarn")
    same = config_of(source, tmp_path, lambda raw: None)
    assert config_of(source, tmp_path, beside) == same
    stretched = config_of(source, tmp_path, unsaid)
    assert stretched.rope_scaling == same.rope_scaling
    assert stretched.context_length == 4 * ORIGINAL


def test_defaults_are_those_of_the_class(plain: Callable[[str], Path], tmp_path: Path) -> None:
    def bare(raw: dict[str, Any]) -> None:
        for key in ("head_dim", "num_key_value_heads", "max_position_embeddings"):
            raw.pop(key, None)
        raw |= {"num_attention_heads": 64, "hidden_size": 640}
        raw["rope_parameters"] = {"rope_type": "default"}

    for name in ("llama", "qwen2", "qwen3"):
        found = config_of(plain(name), tmp_path, bare)
        want = tiny_families.FAMILIES[name][0](num_attention_heads=64, hidden_size=640)
        if name == "llama":
            assert want.num_key_value_heads == want.num_attention_heads
        assert found.kv_heads == want.num_key_value_heads
        assert found.head_dim == getattr(want, "head_dim", 10)
        assert found.context_length == want.max_position_embeddings
        assert found.rope_theta == want.rope_parameters["rope_theta"]


def scaled(**settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 5000.0} | settings}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("qwen2", {"use_sliding_window": True}, "use_sliding_window True is not supported"),
    ("qwen3", {"use_sliding_window": True}, "use_sliding_window True is not supported"),
    ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types .* only 'fu"),
    ("qwen2", {"layer_types": "full_attention"}, "layer_types 'full_attention' is not supported"),
    ("qwen2", {"dual_chunk_attention_config": {}}, "dual_chunk_attention_config {} is not supp"),
    ("qwen3", {"attention_bias": True}, "attention_bias True is not supported"),
    ("qwen2", {"model_type": "qwen2_moe"}, "'qwen2_moe' is not supported; known: llama, qwen2, q"),
    ("qwen2", {"model_type": "qwen2_vl"}, "model_type 'qwen2_vl' is not supported"),
    *(
        (family, scaled(rope_type=kind, factor=2.0), f"rope scaling '{kind}' is not supported; kno")
        for family in ("llama", "qwen2", "qwen3")
        for kind in ("dynamic", "longrope", "su", "mrope", "proportional", "axial", "newest")
    ),
    ("llama", scaled(rope_type=["yarn"]), r"rope scaling \['yarn'\] is not supported"),
    ("qwen2", scaled(type="default", mrope_section=[2, 1, 1]), "rope setting 'mrope_section'"),
    ("llama", scaled(full_attention={"rope_type": "yarn"}), "rope setting 'full_attention'"),
    (
        "llama",
        scaled(rope_type="linear", factor=2, short_factor=[1]),
        "rope setting 'short_fac",
    ),
    ("llama", scaled(rope_type="yarn", factor=2, partial_rotary_factor=0.5), "partial_rotary_fact"),
    ("llama", scaled(rope_type="linear"), "factor is None; it must be a number"),
    ("llama", scaled(rope_type="linear", factor=0.5), "factor 0.5; it must be a number from 1"),
    ("llama", scaled(rope_type="linear", factor=float("nan")), "factor nan; it must be a number"),
    ("llama", scaled(rope_type="linear", factor=10**400), "factor is 10+; it must be a number"),
    ("llama", scaled(rope_type="yarn", factor="4"), "factor is '4'; it must be a number"),
    ("llama", scaled(rope_type="yarn", factor=4, beta_fast=0), "beta_fast 0.0; it must be above 0"),
    ("llama", scaled(rope_type="yarn", factor=4, attention_factor=-1), "attention_factor -1.0; it"),
    (
        "llama",
        scaled(rope_type="yarn", factor=4, truncate=3),
        "truncate is 3; it must be true",
    ),
    ("llama", scaled(**YARN | {"rope_theta": 1.0}), "rope_theta 1.0; it must be above 1"),
    ("llama", scaled(**YARN | {"original_max_position_embeddings": 0}), "embeddings is 0; it must"),
    (
        "llama",
        scaled(**LLAMA3 | {"low_freq_factor": 4.0}),
        "low_freq_factor 4.0; it must be 0 to",
    ),
    ("llama", {"head_dim": 10**9} | scaled(**YARN), "head_dim 1000000000; it must be 2 to 4096"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2}}, "say different things"),
    ("llama", {"rope_parameters": 3}, "rope_parameters is 3; it must be an object"),
    ("llama", {"rope_scaling": "yarn"}, "rope_scaling is 'yarn'; it must be an object"),
]


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_what_does_not_run_is_refused_by_name(
    plain: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        config_of(plain(name), tmp_path, lambda raw: raw.update(change))


def test_a_sliding_window_that_is_switched_off(
    plain: Callable[[str], Path], tmp_path: Path
) -> None:
    off = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 1}
    source = plain("qwen2")
    same = config_of(source, tmp_path, lambda raw: None)
    assert config_of(source, tmp_path, lambda raw: raw.update(off)) == same


GGUF_REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"llama.rope.scaling.type": kind}, f"rope scaling '{kind}' is not supported; known: lin")
        for kind in ("dynamic", "longrope", "su", "mrope", "newest")
    ),
    ({"llama.rope.scaling.factor": 0.5}, "factor 0.5; it must be a number from 1"),
    ({"llama.rope.scaling.alpha": 2.0}, "rope.scaling.alpha 2.0 is not supported"),
    ({"llama.rope.dimension_sections": [1, 2, 3]}, "rope.dimension_sections .* is not supported"),
    ({"llama.rope.scaling.attn_factor": 2.0}, "rope.scaling.attn_factor 2.0 is not supported"),
    ({"llama.rope.scaling.yarn_attn_factor": 0.7}, "yarn_attn_factor 0.69.* is not supported"),
    ({"llama.rope.scaling.yarn_ext_factor": 0.0}, "yarn_ext_factor 0.0 is not supported"),
    ({"llama.rope.scaling.yarn_log_multiplier": 0.5}, "log_multiplier 0.5 is not supported"),
    (
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.original_context_length": 0},
        "original length 0; it must be above 0",
    ),
    ({"llama.attention.sliding_window": 4096}, "attention.sliding_window 4096 is not supported"),
]


@pytest.mark.parametrize(("change", "message"), GGUF_REFUSED)
def test_what_a_gguf_file_says_in_vain(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tiny_models.write(tmp_path / "m.gguf", settings=change)
    with pytest.raises(InputError, match=message) as caught:
        load_model(str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"llama.rope.scaling.factor": 2.0}, 2.0),  # the format's default kind is linear
        ({"llama.rope.scaling.factor": 0.0}, None),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 2.0}, None),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0}, None),
    ],
)
def test_a_linear_factor_in_gguf(
    tmp_path: Path, change: dict[str, Any], factor: float | None
) -> None:
    config = load_model(str(tiny_models.write(tmp_path / "m.gguf", settings=change))).config
    found = config.rope_scaling
    assert (None if found is None else set(found.divisors)) == (factor and {factor})


@pytest.mark.parametrize(
    ("divisors", "change", "message"),
    [
        (numpy.zeros(32), {}, "'rope_freqs.weight' holds 0.0; it must be above 0"),
        (numpy.full(32, numpy.nan), {}, "'rope_freqs.weight' holds nan"),
        (numpy.ones(16), {}, r"'rope_freqs.weight' has shape \(16,\); its config says \(32,\)"),
        (numpy.ones(32), {"llama.rope.scaling.factor": 2.0}, "'linear' and the tensor 'rope_freqs"),
    ],
)
def test_divisors_that_make_no_sense(
    tmp_path: Path, divisors: Any, change: dict[str, Any], message: str
) -> None:
    weights = tiny_models.tensors() | {"rope_freqs.weight": divisors.astype(numpy.float32)}
    with pytest.raises(InputError, match=message):
        load_model(str(tiny_models.write(tmp_path / "m.gguf", weights=weights, settings=change)))
