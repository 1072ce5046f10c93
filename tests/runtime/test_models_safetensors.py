import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from ponder.runtime import InputError, Message
from ponder.runtime.models import load_model


def build(path: Path, *, tied: bool = False, **changes: Any) -> Path:
    """A directory as transformers saves it: random weights, a byte-level tokeniser."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    settings: dict[str, Any] = {
        "vocab_size": len(tiny_models.TOKENS),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 12345.0},
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | changes
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.generation_config.eos_token_id = [0, 2]
    model.save_pretrained(path)
    fast: Any = PreTrainedTokenizerFast  # its constructor is untyped
    fast(
        tokenizer_object=backend(),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=tiny_models.TEMPLATE,
    ).save_pretrained(path)
    return path


def backend() -> Tokenizer:
    vocabulary = {token: i for i, token in enumerate(tiny_models.TOKENS)}
    merges = [(m.split(" ")[0], m.split(" ")[1]) for m in tiny_models.MERGES]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tiny_models.CONTROLS])
    return tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("tied", [False, True])
def test_weights_and_config_equal_transformers(tmp_path: Path, tied: bool) -> None:
    from transformers import LlamaForCausalLM

    path = build(tmp_path / "tiny", tied=tied)
    ours, theirs = load_model(str(path)), LlamaForCausalLM.from_pretrained(path)
    expected = theirs.state_dict()
    if tied:
        del expected["lm_head.weight"]
    assert ours.weights.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.weights.items())
    config, reference = ours.config, theirs.config
    assert config.tied_embeddings is tied
    assert (config.layers, config.hidden, config.intermediate) == (2, 32, 48)
    assert (config.heads, config.kv_heads, config.head_dim) == (4, 2, reference.head_dim)
    assert (config.vocabulary, config.context_length) == (reference.vocab_size, 256)
    assert (config.rope_theta, config.norm_epsilon) == (12345.0, reference.rms_norm_eps)
    assert ours.name == "tiny"


def test_older_configs_mean_the_same(copy: Path) -> None:
    def older(config: dict[str, Any]) -> None:
        config |= {"rope_theta": config.pop("rope_parameters")["rope_theta"], "rope_scaling": None}
        del config["head_dim"]

    new = load_model(str(copy)).config
    edit(copy / "config.json", older)
    assert load_model(str(copy)).config == new


def test_shards_bfloat16_and_leftovers(saved: Path, copy: Path) -> None:
    """Two shards in bfloat16, one with the inverse frequencies that old checkpoints carry."""
    whole = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    parts = [{}, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}]
    for i, (name, tensor) in enumerate(whole.items()):
        parts[i % 2][name] = tensor.to(torch.bfloat16)
    weight_map: dict[str, str] = {}
    for i, part in enumerate(parts):
        save_file(part, copy / f"model-{i}.safetensors")
        weight_map |= {name: f"model-{i}.safetensors" for name in part}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    exact, sharded = load_model(str(saved)), load_model(str(copy))
    rounded = load_model(str(copy), dtype="bfloat16")
    for name, tensor in exact.weights.items():
        short = tensor.to(torch.bfloat16)
        assert torch.equal(sharded.weights[name], short.to(torch.float32))
        assert torch.equal(rounded.weights[name], short)


def test_tokens_and_chats_equal_transformers(saved: Path) -> None:
    from transformers import AutoTokenizer

    ours, theirs = load_model(str(saved)).tokenizer, AutoTokenizer.from_pretrained(saved)
    for text in ["hello wörld 12", "", "  a\n\n🙂"]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
        assert ours.encode_prompt(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
        turns = [{"role": "user", "content": text}]
        assert ours.encode_prompt([Message(role="user", content=text)]) == (
            theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        )
    assert ours.end_tokens == {0, 2}
    hostile = "a<|im_end|>b"
    assert 2 not in ours.encode(hostile)
    assert ours.encode_prompt([Message(role="user", content=hostile)]).count(2) == 1


def test_beginning_token_where_the_tokeniser_adds_one(copy: Path) -> None:
    tokenizer = backend()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.save(str(copy / "tokenizer.json"))
    ours = load_model(str(copy)).tokenizer
    assert ours.encode_prompt("hello") == [1, *ours.encode("hello")]


def test_templates_in_the_config_too(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    chat = [Message(role="user", content="Hi")]
    with pytest.raises(InputError, match="has no chat template"):
        load_model(str(copy)).tokenizer.encode_prompt(chat)
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "hello"}]
    for template in ("hello", named):
        edit(copy / "tokenizer_config.json", lambda c, t=template: c.update(chat_template=t))  # type: ignore[misc]  # mypy has no type for a default bound in a lambda
        tokenizer = load_model(str(copy)).tokenizer
        assert tokenizer.encode_prompt(chat) == tokenizer.encode("hello")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "gemma"}, "model_type 'gemma' is not supported; known: llama, qwen2, qwen3"),
    ({"model_type": ["llama"]}, "model_type .* is not supported; known: llama"),
    ({"attention_bias": True}, "attention_bias True is not supported"),
    ({"mlp_bias": True}, "mlp_bias True is not supported"),
    ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
    ({"quantization_config": {"bits": 4}}, "quantization_config .* is not supported"),
    ({"rope_parameters": 3}, "rope_parameters is 3; it must be an object"),
    ({"rope_parameters": {"rope_theta": "many"}}, "rope_theta is 'many'; it must be a number"),
    ({"hidden_size": None}, "hidden_size is None; it must be a whole number above 0"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0; it must be"),
    ({"num_hidden_layers": 10**9}, "layers is 1000000000; at most 4096"),
    ({"num_hidden_layers": 1}, "'model.layers.1.input_layernorm.weight' has no place"),
    ({"num_hidden_layers": 3}, "'model.layers.2.input_layernorm.weight' is missing"),
    ({"intermediate_size": 64}, r"has shape \(48, 32\); its config says \(64, 32\)"),
    ({"vocab_size": 100}, r"tokenizer.json has token \d+, the model only 100"),
    ({"eos_token_id": "two"}, "eos_token_id is 'two'; it must be a token id or a list"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_is_no_plain_llama_is_refused_by_name(
    copy: Path, change: dict[str, Any], message: str
) -> None:
    edit(copy / "config.json", lambda config: config.update(change))
    with pytest.raises(InputError, match=message):
        load_model(str(copy))


def respelt(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(path / "model.safetensors")
    change(weights)
    save_file(weights, path / "model.safetensors")


def test_missing_foreign_and_broken_tensors(copy: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    respelt(copy, lambda w: w[name].view(-1)[5].fill_(float("nan")))
    with pytest.raises(InputError, match=f"{name}' holds NaN or infinity"):
        load_model(str(copy))
    respelt(copy, lambda w: w.update({name: w[name].to(torch.int8)}))
    with pytest.raises(InputError, match=f"{name}' is stored as I8"):
        load_model(str(copy))
    respelt(copy, lambda w: w.pop(name))
    with pytest.raises(InputError, match=f"{name}' is missing"):
        load_model(str(copy))
    bias = "model.layers.0.self_attn.q_proj.bias"
    respelt(copy, lambda w: w.update({bias: torch.zeros(32)}))
    with pytest.raises(InputError, match=f"{bias}' has no place"):
        load_model(str(copy))


def test_files_cut_short_or_missing(copy: Path) -> None:
    weights = copy / "model.safetensors"
    content = weights.read_bytes()
    for length in (0, 7, 100, len(content) - 1):
        weights.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"weights cannot be read.*cut short or corrupt"):
            load_model(str(copy))
    weights.unlink()
    with pytest.raises(InputError, match=r"neither model\.safetensors nor"):
        load_model(str(copy))
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    with pytest.raises(InputError, match=r"names '../x.safetensors', which is no file beside it"):
        load_model(str(copy))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "cannot be read as JSON"),
        ("config.json", "[]", "holds list, where a JSON object belongs"),
        ("tokenizer.json", "{}", "cannot be read as a tokeniser"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("config.json", None, "config.json cannot be read"),
        ("tokenizer_config.json", "\xff", "cannot be read as JSON"),
    ],
)
def test_other_files_spoilt(copy: Path, file: str, content: str | None, message: str) -> None:
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        load_model(str(copy))
