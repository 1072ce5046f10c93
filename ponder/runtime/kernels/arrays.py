"""Numbers in and out of tensors, typed: torch's own signatures leave these open."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def tensor_of(array: npt.NDArray[np.bool_ | np.int32 | np.int64 | np.float32]) -> Tensor:
    """Shares the array's memory."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType] - numpy arrays


def array_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Of float32 in the host's memory, which they share."""
    return cast("npt.NDArray[np.float32]", tensor.numpy())  # pyright: ignore[reportUnknownMemberType] - as dtype


def integers(tensor: Tensor) -> list[int]:
    return cast("list[int]", tensor.tolist())  # pyright: ignore[reportUnknownMemberType] - as dtype


def floats(tensor: Tensor) -> list[float]:
    return cast(
        "list[float]",
        tensor.tolist(),  # pyright: ignore[reportUnknownMemberType] - as dtype
    )


def booleans(tensor: Tensor) -> list[bool]:
    return cast(
        "list[bool]",
        tensor.tolist(),  # pyright: ignore[reportUnknownMemberType] - as dtype
    )
