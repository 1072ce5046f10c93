"""Heads: small maps from a token's last hidden state to a few numbers, such as a step's reward.

Value and reward models are language models with such a head in place of the one over the
vocabulary: `score` of the sequence classifiers of transformers, the `score.0`, ReLU, `score.2` of
Qwen2.5-Math-PRM (arXiv 2501.07301), the `v_head.summary` of TRL. Imports torch for types only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from ponder.runtime.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

Outputs = Literal["raw", "sigmoid", "softmax"]
"""What a head's last numbers are turned into: left as they are (rewards, values), each a
probability of its own, or the probabilities of classes that exclude each other.
"""

_TENSOR: Final = re.compile(r"(score|v_head\.summary)(?:\.(\d+))?\.(weight|bias)")
_NAMES: Final = {"score": "score", "v_head.summary": "value"}
_HEADED: Final = ("ForSequenceClassification", "ForProcessRewardModel")
_BY_PROBLEM: Final[Mapping[str, Outputs]] = {
    "regression": "raw",
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    weight: Tensor
    """[outputs, inputs]"""
    bias: Tensor | None = None
    """[outputs]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """Affine maps with a ReLU between each two; the first takes the normed last hidden state."""

    layers: tuple[Affine, ...]
    outputs: Outputs = "raw"

    def __post_init__(self) -> None:
        if self.outputs not in get_args(Outputs):
            raise InputError(unknown("outputs", self.outputs, get_args(Outputs)))
        if not self.layers:
            raise InputError("a head of no layers; give at least one")
        for layer in self.layers:
            _check(layer)
        for one, two in pairwise(self.layers):
            if one.weight.shape[0] != two.weight.shape[1]:
                raise InputError(
                    f"a head's layer gives {one.weight.shape[0]} numbers and the next one takes "
                    f"{two.weight.shape[1]}; they must be as many"
                )

    def fitted(self, name: str, hidden: int) -> Head:
        """Ready to run in float32.

        Raises:
            InputError: it takes vectors of another width than the model's hidden states.
        """
        width = self.layers[0].weight.shape[1]
        if width != hidden:
            raise InputError(
                f"head {name!r} takes vectors of {width}; the model's hidden states have {hidden}: "
                "give the head of this very model"
            )
        layers = tuple(
            Affine(
                weight=layer.weight.detach().float().contiguous(),
                bias=None if layer.bias is None else layer.bias.detach().float(),
            )
            for layer in self.layers
        )
        return Head(layers=layers, outputs=self.outputs)

    def __call__(self, state: Tensor) -> tuple[float, ...]:
        """The outputs for one token's state, [hidden]. One vector at a time and at a place of its
        own, so that what comes out does not depend on how many were computed together.
        """
        from ponder.runtime.kernels.arrays import floats

        x = state.float().clone()
        for i, layer in enumerate(self.layers):
            x = layer.weight.mv(x.relu() if i else x)
            x = x if layer.bias is None else x + layer.bias
        if self.outputs == "raw":
            return tuple(floats(x))
        return tuple(floats(x.sigmoid() if self.outputs == "sigmoid" else x.softmax(dim=0)))


def _check(layer: Affine) -> None:
    weight, bias = layer.weight, layer.bias
    if weight.ndim != 2:
        raise InputError(f"a head's weight has shape {tuple(weight.shape)}; give [outputs, inputs]")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise InputError(
            f"a head's bias has shape {tuple(bias.shape)}; its weight gives {weight.shape[0]}"
        )
    if not all(bool(t.isfinite().all()) for t in (weight, bias) if t is not None):
        raise InputError("a head's weights hold NaN or infinity; get its file again")


def is_head(tensor: str) -> bool:
    """Whether a checkpoint's tensor belongs to a head."""
    return _TENSOR.fullmatch(tensor) is not None


def headed(raw: Mapping[str, Any]) -> bool:  # values are JSON's; read here alone
    """Whether a config.json is that of a model with a head in place of the one over the
    vocabulary.
    """
    names: object = raw.get("architectures")
    found = cast(list[object], names) if isinstance(names, list) else []
    return any(str(name).endswith(_HEADED) for name in found)


def heads_of(tensors: Mapping[str, Tensor], raw: Mapping[str, Any], where: Path) -> dict[str, Head]:
    """The heads that a checkpoint's tensors make, by name: "score", "value".

    Raises:
        InputError: a part is missing, or the parts do not fit.
    """
    parts: dict[str, dict[int, dict[str, Tensor]]] = {}
    for tensor, value in tensors.items():
        found = _TENSOR.fullmatch(tensor)
        if found is not None:
            layers = parts.setdefault(_NAMES[found[1]], {})
            layers.setdefault(int(found[2] or 0), {})[found[3]] = value
    return {name: _head(name, layers, raw, where) for name, layers in parts.items()}


def _head(
    name: str, layers: Mapping[int, Mapping[str, Tensor]], raw: Mapping[str, Any], where: Path
) -> Head:
    for index, layer in layers.items():
        if "weight" not in layer:
            raise InputError(f"{where}: head {name!r} has no weight {index}; get the file again")
    parts = [layer for _, layer in sorted(layers.items())]
    ordered = tuple(Affine(weight=part["weight"], bias=part.get("bias")) for part in parts)
    labels = ordered[-1].weight.shape[0]
    usual: Outputs = "raw" if labels == 1 else "softmax"
    outputs = _BY_PROBLEM.get(str(raw.get("problem_type")), usual) if name == "score" else "raw"
    try:
        return Head(layers=ordered, outputs=outputs)
    except InputError as error:
        raise InputError(f"{where}: head {name!r}: {error}") from error
