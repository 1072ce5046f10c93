"""The native step built for another processor and run there by an emulator: what `native_check.cpp`
reads, and how it is compiled.
"""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ponder.runtime.kernels import native
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.runners.native_llama import NativeLlama, WeightFormat, native_shape

ROOT = Path(__file__).parents[2]
DOORS = "module.cpp"
"""The only source that needs Python."""


class Recorded(NativeLlama):
    """Writes down the tensors that a model is packed from."""

    def __init__(self, model: LoadedModel) -> None:
        self.tensors: list[bytes] = []
        super().__init__(model.config, model.weights, weight_format="float32", threads=1)

    def _take(self, kind: str, layer: int, tensor: Tensor) -> None:
        place = np.asarray([native.TENSORS.index(kind), layer], np.int32)
        size = np.asarray([tensor.numel()], np.int64)
        values = tensor.float().contiguous().numpy()
        self.tensors.append(place.tobytes() + size.tobytes() + values.tobytes())


def write_model(model: LoadedModel, tokens: Sequence[int], path: Path) -> None:
    tensors = Recorded(model).tensors
    path.write_bytes(
        bytes(native_shape(model.config))
        + np.int32(len(tensors)).tobytes()
        + b"".join(tensors)
        + np.int64(len(tokens)).tobytes()
        + np.asarray(tokens, np.int64).tobytes()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A compiled `native_check.cpp`, and the emulator that runs it."""

    emulator: tuple[str, ...]
    program: Path

    def __call__(self, *arguments: str) -> bytes:
        command = [*self.emulator, str(self.program), *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def logits(
        self, isa: str, weight_format: WeightFormat, chunk: int, model: LoadedModel, path: Path
    ) -> Tensor:
        """Of every token in the file, computed in steps of `chunk` tokens."""
        out = self(isa, str(native.FORMATS[weight_format]), str(chunk), str(path))
        flat = torch.from_numpy(np.frombuffer(out, np.float32).copy())
        return flat.reshape(-1, model.config.vocabulary)


def build(compiler: str, emulator: tuple[str, ...], folder: Path) -> Elsewhere:
    with (ROOT / "pyproject.toml").open("rb") as file:
        (module,) = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    sources = [ROOT / source for source in module["sources"] if not source.endswith(DOORS)]
    program = folder / "native_check"
    options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-ffp-contract=off", "-pthread", "-static"]
    where = f"-I{sources[0].parent}"
    check = Path(__file__).with_name("native_check.cpp")
    command = [compiler, *options, where, *map(str, sources), str(check), "-o", str(program)]
    subprocess.run(command, check=True)
    return Elsewhere(emulator=emulator, program=program)
