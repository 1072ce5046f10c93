"""Heads of reward and value models, from a checkpoint's files to their numbers, against
transformers.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from ponder.runtime import BranchPath, CapabilityError, InputError, Sampling, load_model
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models import LoadedModel
from ponder.runtime.models.heads import Affine, Head

TEXT = "hello world, 12 hello"
SHAPE: Mapping[str, Any] = {
    "vocab_size": len(tiny_models.TOKENS),
    "hidden_size": 48,
    "intermediate_size": 52,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}
CLASSIFIERS: dict[str, tuple[Any, Any, Mapping[str, Any]]] = {  # transformers is untyped
    "a reward": (LlamaConfig, LlamaForSequenceClassification, {"num_labels": 1}),
    "classes": (Qwen2Config, Qwen2ForSequenceClassification, {"num_labels": 3}),
    "labels, tied": (
        LlamaConfig,
        LlamaForSequenceClassification,
        {
            "num_labels": 2,
            "problem_type": "multi_label_classification",
            "tie_word_embeddings": True,
        },
    ),
}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "a reward": lambda x: x,
    "classes": lambda x: x.softmax(dim=-1),
    "labels, tied": torch.sigmoid,
}


async def outputs(model: LoadedModel, head: str) -> list[tuple[float, ...]]:
    engine = LocalEngine(model, pages=40, threads=1, step_tokens=7)
    try:
        branch = await engine.open(TEXT, path=BranchPath(0))
        everywhere = await branch.read(head, 0)
        assert await branch.read(head) == [pytest.approx(everywhere[-1], abs=1e-5)]
        return everywhere
    finally:
        await engine.close()


def ids(model: LoadedModel) -> Tensor:
    return torch.tensor([model.tokenizer.encode_prompt(TEXT)])


def near(got: list[tuple[float, ...]], want: Tensor) -> None:
    assert torch.tensor(got).allclose(want.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_sequence_classifiers_are_read_at_every_token(kind: str, tmp_path: Path) -> None:
    config, cls, settings = CLASSIFIERS[kind]
    torch.manual_seed(1)
    theirs = cls(config(**SHAPE, **settings)).eval()
    model = load_model(str(tiny_families.save(tmp_path / "tiny", theirs)))
    assert not model.config.language_head
    got = asyncio.run(outputs(model, "score"))
    states = theirs.model(ids(model)).last_hidden_state[0]
    near(got, ACTIVATIONS[kind](theirs.score(states)))
    near(got[-1:], ACTIVATIONS[kind](theirs(ids(model)).logits))


def test_a_model_without_logits_refuses_to_speak(tmp_path: Path) -> None:
    config, cls, settings = CLASSIFIERS["classes"]
    model = load_model(str(tiny_families.save(tmp_path / "tiny", cls(config(**SHAPE, **settings)))))

    async def body() -> None:
        engine = LocalEngine(model, pages=40, threads=1)
        can = engine.capabilities
        assert (can.logits, can.logprobs, can.prompt_logprobs) == (False, False, False)
        assert (can.hidden_states, can.heads) == (True, ("score",))
        branch = await engine.open(TEXT, path=BranchPath(0))
        for call in (branch.extend(Sampling(max_tokens=1)), branch.score(["x"]), branch.logits()):
            with pytest.raises(CapabilityError, match=r"no head over the vocabulary.*'score'"):
                await call
        with pytest.raises(CapabilityError, match=r"'scores'.*did you mean 'score'"):
            await branch.read("scores")
        await engine.close()

    asyncio.run(body())


def with_tensors(path: Path, more: Mapping[str, Tensor], **config: object) -> Path:
    """A tiny Qwen2 whose files hold `more`, and whose config says `config` too."""
    torch.manual_seed(2)
    place = tiny_families.save(path, Qwen2ForCausalLM(Qwen2Config(**SHAPE)))
    weights = place / "model.safetensors"
    save_file({**load_file(weights), **more}, weights, metadata={"format": "pt"})
    told = place / "config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | config))
    return place


def last_states(place: Path, model: LoadedModel) -> Tensor:
    theirs: Any = Qwen2ForCausalLM.from_pretrained(place)
    states: Tensor = theirs.model(ids(model)).last_hidden_state[0]
    return states


def test_a_process_reward_model_gives_class_probabilities(tmp_path: Path) -> None:
    torch.manual_seed(3)
    score = torch.nn.Sequential(torch.nn.Linear(48, 48), torch.nn.ReLU(), torch.nn.Linear(48, 2))
    parts = {f"score.{name}": value for name, value in score.state_dict().items()}
    place = with_tensors(tmp_path / "tiny", parts, architectures=["Qwen2ForProcessRewardModel"])
    model = load_model(str(place))
    assert model.config.language_head, "its files hold one"
    near(
        asyncio.run(outputs(model, "score")),
        score(last_states(place, model)).softmax(dim=-1),
    )


def test_a_value_head_sits_beside_the_language_head(tmp_path: Path) -> None:
    torch.manual_seed(4)
    value = torch.nn.Linear(48, 1)
    parts = {f"v_head.summary.{name}": tensor for name, tensor in value.state_dict().items()}
    place = with_tensors(tmp_path / "tiny", parts)
    model = load_model(str(place))
    assert model.config.language_head
    near(asyncio.run(outputs(model, "value")), value(last_states(place, model)))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"score.0.bias": torch.zeros(48)}, r"'score' has no weight 0"),
        ({"score.weight": torch.zeros(2, 2, 48)}, r"'score'.*shape \(2, 2, 48\)"),
        (
            {"score.weight": torch.zeros(2, 48), "score.bias": torch.zeros(3)},
            r"bias has shape \(3,\)",
        ),
        (
            {"score.0.weight": torch.zeros(9, 48), "score.2.weight": torch.zeros(2, 8)},
            "gives 9 numbers and the next one takes 8",
        ),
        ({"score.weight": torch.full((1, 48), math.nan)}, r"score.weight.*NaN"),
    ],
)
def test_a_broken_head_is_refused_with_its_name(
    parts: dict[str, Tensor], told: str, tmp_path: Path
) -> None:
    place = with_tensors(tmp_path / "tiny", parts)
    with pytest.raises(InputError, match=told) as caught:
        load_model(str(place))
    assert str(place) in str(caught.value)


def test_a_headed_model_whose_head_is_missing_is_refused(tmp_path: Path) -> None:
    config, cls, settings = CLASSIFIERS["a reward"]
    place = tiny_families.save(tmp_path / "tiny", cls(config(**SHAPE, **settings)))
    weights = load_file(place / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="nor another head"):
        load_model(str(place))


def test_a_head_for_another_model_or_of_no_sense_is_refused(tmp_path: Path) -> None:
    model = load_model(str(with_tensors(tmp_path / "tiny", {})))
    wide = Head(layers=(Affine(weight=torch.zeros(1, 49)),))
    with pytest.raises(InputError, match=r"'wide' takes vectors of 49.*have 48"):
        LocalEngine(model, pages=4, heads={"wide": wide})
    with pytest.raises(InputError, match="at least one"):
        Head(layers=())
    given: Any = "softmaxx"  # what a caller without a type checker may give
    with pytest.raises(InputError, match="did you mean 'softmax'"):
        Head(layers=wide.layers, outputs=given)
