"""The seam between the engine's tables and what computes: works in, hidden states, logits and draws
out.

`TorchRunner` runs anywhere torch does and is the oracle; `NativeLlama` is the compiled step,
`TritonRunner` the GPU's. A runner owns the KV memory behind the pool's page numbers; it knows
nothing of branches or jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ponder.runtime.models.config import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ponder.runtime.runners.sampler import Draw, Rule


PAGE = 16
"""Tokens a KV page."""
BLOCK = 64
"""Places that attention takes at a time; all of them at one shift."""
Ints = npt.NDArray[np.int64]
Slots = Ints
"""Places in KV memory, one a token: page * PAGE + offset; -1 is a hole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What one branch does in a step: its newest `len(tokens)` tokens, each a row."""

    tokens: Sequence[int]
    slots: Slots
    """The place of every token the last row sees, in the view's order, the new ones last. Holes
    (-1) stand where a stretch of the view starts; the rows themselves have none. A row sees what
    comes before it here, whatever its position. Places whose offset in their page is their index
    modulo PAGE are read by whole pages, others are gathered.
    """
    wanted: int
    """How many of the last rows need logits."""
    positions: Ints | None = None
    """[rows], each row's position in the view; None: its index in `slots`."""
    homes: Ints | None = None
    """[rows], the position that each row's key is rotated for; None: its position."""
    shifts: Ints | None = None
    """[ceil(len(slots) / BLOCK)], view position minus home of the places of each block; None: all
    0. A place at shift d is read with the query rotated for its position minus d.
    """

    @property
    def past(self) -> int:
        return len(self.slots) - len(self.tokens)


@dataclass(slots=True, kw_only=True)
class StepTime:
    """Seconds spent so far, by phase. The torch path counts a whole forward pass as linear."""

    linear: float = 0.0
    attention: float = 0.0
    other: float = 0.0
    """Norms, rounding, embedding, and waiting for the other threads' last pieces."""
    head: float = 0.0
    sampling: float = 0.0


class Runner(Protocol):
    """One model and its KV memory. One call at a time."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def description(self) -> str:
        """Weight format and kernels, for names and records: "bfloat16, native avx512_bf16"."""
        ...

    @property
    def shifts(self) -> bool:
        """Whether works may have holes, positions, homes and shifts."""
        ...

    @property
    def time(self) -> StepTime: ...

    @property
    def torch_threads(self) -> int:
        """How many threads torch should have on the thread that calls: torch's own threads spin
        after each operation, so a runner that hardly uses torch wants one.
        """
        ...

    def page_bytes(self) -> int:
        """Bytes a KV page takes."""
        ...

    def kv_bytes(self) -> int:
        """Bytes of KV memory that an engine takes unasked."""
        ...

    def reserve(self, pages: int) -> None:
        """Take memory for so many pages; what was in it is lost.

        Raises:
            PoolExhausted: the system does not give that much.
        """
        ...

    def hidden(self, works: Sequence[Work]) -> Tensor:
        """Run one step; the normed last hidden states of the wanted rows, float32 [wanted,
        hidden].
        """
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 [rows, vocabulary] from [rows, hidden]; overwritten by the next call."""
        ...

    def draw(self, logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
        """One token a row, as `sampler.draw` says."""
        ...
