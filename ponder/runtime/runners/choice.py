"""What each platform uses, chosen once when an engine starts: Triton's kernels where there is a GPU
for them; else the compiled step where it was built and the model has a shape it runs; else torch.
`describe_platform` tells the doctor.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast, get_args

from ponder.runtime.errors import InputError, unknown
from ponder.runtime.kernels import native

if TYPE_CHECKING:
    from ponder.runtime.models.config import LoadedModel, ModelConfig
    from ponder.runtime.runners.api import Runner

WeightFormat = Literal["float32", "bfloat16", "int8", "int4"]
GPU_FORMATS = ("float32", "bfloat16")
Kernels = Literal["auto", "triton", "native", "torch"]
NOT_BUILT = "it was not built: no C++ compiler at install, or none that could; install it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What this machine and this build can run."""

    kernels: str
    """What "auto" takes for a Llama model: "triton", "native" or "torch"."""
    gpu: str
    """The GPU's name, or why there is none to use."""
    why_not_native: str
    """"" where it can be."""
    instruction_sets: tuple[str, ...]
    """Of the native step, best first; empty where it was not built."""
    on_request: tuple[str, ...]
    """The environment settings that use an instruction set which is not used by itself: one that
    has not proved itself on hardware, or is there for tests.
    """
    instruction_set: str
    """The one in use; "" with torch."""
    weight_formats: tuple[str, ...]
    threads: int
    python: str
    torch: str
    """Its version; "" where it is not installed, as of the next."""
    triton: str
    compiler: str
    """A C++ compiler's path, which a build of the native step needs; "" where none is found."""


def describe_platform() -> Platform:
    """For `ponder doctor`."""
    sets = native.instruction_sets()
    own = sets.index("portable") + 1 if sets else 0
    reason = _why_not_gpu()
    formats = (*(native.FORMATS if sets else ()), *(("float32",) if reason else GPU_FORMATS))
    return Platform(
        kernels="triton" if not reason else "native" if sets else "torch",
        gpu=f"none: {reason}" if reason else _gpu_name(),
        why_not_native="" if sets else NOT_BUILT,
        instruction_sets=sets[:own],
        on_request=tuple(f"{native.SWITCH}={name}" for name in sets[own:]),
        instruction_set=native.chosen_instruction_set() if sets else "",
        weight_formats=tuple(dict.fromkeys(formats)),
        threads=os.cpu_count() or 1,
        python=platform.python_version(),
        torch=_version("torch"),
        triton=_version("triton"),
        compiler=_compiler(),
    )


def _compiler() -> str:
    names = (*os.environ.get("CXX", "").split()[:1], "c++", "g++", "clang++")
    return next((found for name in names if (found := shutil.which(name))), "")


def _version(package: str) -> str:
    """As installed, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def read_weight_format(name: str) -> WeightFormat:
    """Raises `InputError` for a name that is none, with the nearest that is."""
    if name not in get_args(WeightFormat):
        raise InputError(unknown("weight format", name, get_args(WeightFormat)))
    return cast(WeightFormat, name)


def choose_runner(
    model: LoadedModel,
    *,
    weight_format: WeightFormat = "float32",
    kernels: Kernels = "auto",
    threads: int,
) -> Runner:
    """What runs `model`.

    Raises:
        InputError: what was asked for by name is not to be had here; the text says why.
    """
    read_weight_format(weight_format)
    if kernels not in get_args(Kernels):
        raise InputError(unknown("kernels", kernels, get_args(Kernels)))
    if kernels == "triton" or (kernels == "auto" and not _why_not_gpu()):
        return _on_gpu(model, weight_format)
    reason = _why_not_native(model.config)
    if kernels == "torch":
        reason = "kernels='torch' was asked for"
    if reason and (kernels == "native" or weight_format != "float32"):
        raise InputError(
            f"weight format {weight_format!r} with kernels {kernels!r} needs the native step, but "
            f"{reason}; use kernels='auto' and weight_format='float32'"
        )
    if reason:
        from ponder.runtime.runners.torch_llama import Llama
        from ponder.runtime.runners.torch_runner import TorchRunner

        return TorchRunner(Llama(model.config, model.weights), threads)
    from ponder.runtime.runners.native_llama import NativeLlama

    return NativeLlama(model.config, model.weights, weight_format=weight_format, threads=threads)


def _on_gpu(model: LoadedModel, weight_format: WeightFormat) -> Runner:
    reason = _why_not_gpu()
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if reason and not (interpreted and find_spec("triton")):
        raise InputError(
            f"kernels 'triton' need a GPU, but {reason}; use kernels='auto', or set "
            "TRITON_INTERPRET=1 to try them without one, slowly"
        )
    from ponder.runtime.runners.triton_runner import TritonRunner

    device = "cpu" if interpreted else "cuda"
    return TritonRunner(model.config, model.weights, weight_format=weight_format, device=device)


def _why_not_gpu() -> str:
    """Empty where Triton's kernels run on a GPU."""
    missing = [name for name in ("torch", "triton") if find_spec(name) is None]
    if missing:
        return f"{missing[0]} is not installed (pip install 'ponder[gpu]')"
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    from ponder.runtime.kernels.gpu.launch import why_not

    return why_not(torch.device("cuda"))


def _gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def _why_not_native(config: ModelConfig) -> str:
    """Empty where the native step runs this model."""
    if not native.instruction_sets():
        return NOT_BUILT
    if config.head_dim % 16 or config.head_dim > native.WIDEST_HEAD:
        return (
            f"it runs heads of a multiple of 16 up to {native.WIDEST_HEAD}, not {config.head_dim}"
        )
    return ""
