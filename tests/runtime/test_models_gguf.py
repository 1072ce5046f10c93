from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import tiny_models
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ponder.runtime import InputError
from ponder.runtime.models import LoadedModel, load_model
from ponder.runtime.models.gguf_header import read_header


def same_weights(ours: LoadedModel, reference: Any) -> None:
    """Bit for bit, and nothing more or less than the reference has."""
    theirs = reference.state_dict()
    if ours.config.tied_embeddings:
        assert torch.equal(theirs.pop("lm_head.weight"), ours.weights["model.embed_tokens.weight"])
    assert ours.weights.keys() == theirs.keys()
    for name, tensor in ours.weights.items():
        assert torch.equal(tensor, theirs[name]), name


def test_embedded_weights_and_config_equal_transformers(
    smollm2: LoadedModel, hf_smollm2: Any
) -> None:
    same_weights(smollm2, hf_smollm2)
    ours, theirs = smollm2.config, hf_smollm2.config
    assert (ours.layers, ours.hidden, ours.intermediate) == (30, 576, 1536)
    assert (ours.heads, ours.kv_heads, ours.head_dim, ours.vocabulary) == (9, 3, 64, 49152)
    assert ours.norm_epsilon == theirs.rms_norm_eps
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"] == 100000.0
    assert ours.context_length == theirs.max_position_embeddings == 8192
    assert ours.tied_embeddings
    assert ours.architecture == "llama"


@pytest.mark.parametrize(
    "kind",
    ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"],
)
def test_every_quantisation_equals_transformers(tmp_path: Path, kind: str) -> None:
    """Within a float32 rounding: the reference orders the same products differently."""
    file = tiny_models.write(tmp_path / "tiny.gguf", kind=kind)
    ours, theirs = load_model(str(file)), tiny_models.load_with_transformers(file).state_dict()
    for name, tensor in ours.weights.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-6, atol=1e-7, msg=name)


def test_untied_head_is_read(tmp_path: Path) -> None:
    file = tiny_models.write(tmp_path / "m.gguf", weights=tiny_models.tensors(tied=False))
    ours = load_model(str(file))
    assert not ours.config.tied_embeddings
    same_weights(ours, tiny_models.load_with_transformers(file))


def test_bfloat16_is_float32_rounded(tmp_path: Path) -> None:
    file = tiny_models.write(tmp_path / "m.gguf")
    exact, rounded = load_model(str(file)), load_model(str(file), dtype="bfloat16")
    for name, tensor in rounded.weights.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, exact.weights[name].to(torch.bfloat16))


def test_defaults_where_the_file_says_nothing(tmp_path: Path) -> None:
    weights = tiny_models.tensors()
    for name in list(weights):
        if "attn_k" in name or "attn_v" in name:
            weights[name] = weights[name.replace("attn_k", "attn_q").replace("attn_v", "attn_q")]
    missing = ("llama.attention.head_count_kv", "llama.rope.freq_base")
    config = load_model(
        str(tiny_models.write(tmp_path / "m.gguf", weights=weights, without=missing))
    ).config
    assert (config.kv_heads, config.rope_theta) == (tiny_models.HEADS, 10000.0)


def test_header_equals_the_library_reader(smollm2_file: Path, tmp_path: Path) -> None:
    for file in (smollm2_file, tiny_models.write(tmp_path / "m.gguf", kind="Q4_0")):
        ours, theirs = read_header(file), gguf.GGUFReader(file)
        fields = {k: f.contents() for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
        assert ours.metadata == fields
        assert [(t.name, t.shape, t.kind, t.offset) for t in ours.tensors.values()] == [
            (t.name, tuple(map(int, reversed(t.shape))), int(t.tensor_type), t.data_offset)
            for t in theirs.tensors
        ]


SPOILT: list[tuple[dict[str, Any], str]] = [
    ({"architecture": "gemma"}, "architecture 'gemma' is not supported; known: llama, qwen2, qw"),
    ({"architecture": "qwen2"}, "tensor 'blk.0.attn_k.bias' is missing"),
    ({"settings": {"llama.rope.scale_linear": 4.0}}, "rope.scale_linear 4.0 is not supported"),
    ({"settings": {"llama.expert_count": 8}}, "expert_count 8 is not supported"),
    ({"settings": {"llama.rope.dimension_count": 32}}, "only head_dim, 64, is supported"),
    ({"settings": {"llama.attention.head_count": 0}}, "0 heads; both must be above 0"),
    ({"settings": {"llama.attention.head_count_kv": 3}}, "4 heads cannot share 3"),
    ({"settings": {"llama.attention.head_count": [4, 4]}}, "must be one whole number"),
    ({"settings": {"llama.block_count": 2**31}}, "layers is 2147483648; at most 4096"),
    ({"settings": {"llama.block_count": 3}}, "'blk.2.attn_norm.weight' is missing"),
    ({"settings": {"llama.feed_forward_length": 768}}, r"\(512, 256\); its config says \(768, 256"),
    ({"settings": {"llama.attention.layer_norm_rms_epsilon": float("nan")}}, "norm_epsilon is nan"),
    ({"without": ["llama.block_count"]}, "'block_count' is missing; it must be one whole number"),
    ({"settings": {"tokenizer.ggml.model": "llama"}}, "tokeniser 'llama' is not supported"),
    ({"settings": {"tokenizer.ggml.pre": "default"}}, "pre-tokeniser 'default' is not supported"),
    ({"settings": {"tokenizer.ggml.eos_token_id": 10**6}}, "eos_token_id' is 1000000; it must be"),
    ({"settings": {"tokenizer.ggml.merges": ["h zz"]}}, "merge 'h zz' does not fit"),
    (
        {"settings": {"tokenizer.ggml.tokens": ["a"] * len(tiny_models.TOKENS)}},
        "holds a token twice",
    ),
    ({"settings": {"tokenizer.chat_template": "{% if %}"}}, "chat template cannot be compiled"),
]


@pytest.mark.parametrize(("change", "message"), SPOILT)
def test_what_is_no_plain_llama_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tiny_models.write(tmp_path / "m.gguf", **change)
    with pytest.raises(InputError, match=message) as caught:
        load_model(str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rope_factors_long.weight", "'rope_factors_long.weight' has no place in a plain llama"),
        ("blk.0.attn_q.bias", "'blk.0.attn_q.bias' has no place in a plain llama"),
    ],
)
def test_tensors_that_would_be_ignored_are_refused(tmp_path: Path, name: str, message: str) -> None:
    weights = tiny_models.tensors() | {name: numpy.ones(32, dtype=numpy.float32)}
    with pytest.raises(InputError, match=message):
        load_model(str(tiny_models.write(tmp_path / "m.gguf", weights=weights)))


def test_missing_tensor(tmp_path: Path) -> None:
    weights = tiny_models.tensors()
    del weights["blk.1.ffn_up.weight"]
    with pytest.raises(InputError, match=r"tensor 'blk.1.ffn_up.weight' is missing"):
        load_model(str(tiny_models.write(tmp_path / "m.gguf", weights=weights)))


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    weights = tiny_models.tensors()
    weights["blk.1.ffn_down.weight"][3, 5] = value
    file = tiny_models.write(tmp_path / "m.gguf", weights=weights)
    with pytest.raises(InputError, match=r"'blk.1.ffn_down.weight' holds NaN or infinity"):
        load_model(str(file))


def test_huge_but_finite_weights_are_weights(tmp_path: Path) -> None:
    weights = tiny_models.tensors()
    weights["blk.0.ffn_down.weight"][:] = 3e38
    loaded = load_model(str(tiny_models.write(tmp_path / "m.gguf", weights=weights)))
    assert loaded.weights["model.layers.0.mlp.down_proj.weight"].max() > 2e38


@pytest.mark.parametrize(("number", "message"), [(24, "I8, which cannot"), (999, "number 999")])
def test_unknown_quantisation(tmp_path: Path, number: int, message: str) -> None:
    file = tiny_models.write(tmp_path / "m.gguf")
    data, name = bytearray(file.read_bytes()), b"blk.0.ffn_up.weight"
    place = data.index(name) + len(name) + 4 + 2 * 8  # after the name: axes, two lengths
    data[place : place + 4] = number.to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_model(str(file))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04 a zip", "not a GGUF file"),
        (b"GGUF", "cut short"),
        (b"GGUF\x01\x00\x00\x00" + bytes(16), "GGUF version 1; supported: 2 and 3"),
        (b"GGUF\x00\x00\x00\x03" + bytes(16), "supported: 2 and 3, little-endian"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "cut short or corrupt"),
    ],
)
def test_wrong_start(tmp_path: Path, start: bytes, message: str) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(start)
    with pytest.raises(InputError, match=message):
        load_model(str(file))


def test_no_file_or_a_directory_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_model(str(tmp_path / "none.gguf"))
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        read_header(tmp_path / "d")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write(tmp_path_factory.mktemp("gguf") / "whole.gguf", kind="Q4_0")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_cut_file_is_an_error_wherever_it_is_cut(whole: Path, data: st.DataObject) -> None:
    content = whole.read_bytes()
    header = content.index(b"blk.1.ffn_down.weight") + 64
    length = data.draw(st.one_of(st.integers(0, header), st.integers(0, len(content) - 33)))
    cut = whole.with_name("cut.gguf")
    cut.write_bytes(content[:length])
    with pytest.raises(InputError):
        load_model(str(cut))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_flipped_byte_is_an_error_or_another_model_but_no_crash(
    whole: Path, data: st.DataObject
) -> None:
    content = bytearray(whole.read_bytes())
    header = content.index(b"blk.1.ffn_down.weight") + 64
    place = data.draw(st.one_of(st.integers(0, 700), st.integers(0, header)))
    content[place] ^= data.draw(st.integers(1, 255))
    flipped = whole.with_name("flipped.gguf")
    flipped.write_bytes(content)
    try:
        loaded = load_model(str(flipped))
    except InputError:
        return
    assert all(tensor.isfinite().all() for tensor in loaded.weights.values())
