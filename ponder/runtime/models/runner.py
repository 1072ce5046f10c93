"""The seam between the engine's tables and what computes: works in, hidden states, logits and draws
out.

`TorchRunner` runs anywhere torch does and is the oracle; `NativeLlama` is the compiled step. A
runner owns the KV memory behind the pool's page numbers; it knows nothing of branches or jobs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ponder.runtime.engine.plan import Work, make_plan
from ponder.runtime.engine.pool import KVMemory, allocate_memory, page_bytes
from ponder.runtime.engine.sampler import Draw, Rule, draw
from ponder.runtime.errors import ModelError
from ponder.runtime.models.config import ModelConfig
from ponder.runtime.models.llama import Llama


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
        """Float32 [rows, vocabulary] from [rows, hidden]."""
        ...

    def draw(self, logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
        """One token a row, as `engine.sampler.draw` says."""
        ...


class TorchRunner:
    """The torch model, in float32."""

    description = "float32, torch"

    def __init__(self, model: Llama, threads: int = 1) -> None:
        self.torch_threads = threads
        self.config = model.config
        self.time = StepTime()
        self._model = model
        self._memory: KVMemory | None = None

    def page_bytes(self) -> int:
        return page_bytes(self.config)

    def reserve(self, pages: int) -> None:
        self._memory = allocate_memory(self.config, pages)

    def hidden(self, works: Sequence[Work]) -> Tensor:
        if self._memory is None:
            raise ModelError("a step before `reserve`: a bug in the engine")
        start = time.perf_counter()
        hidden = self._model.hidden(make_plan(works), self._memory)
        self.time.linear += time.perf_counter() - start
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        start = time.perf_counter()
        logits = self._model.logits(hidden)
        self.time.head += time.perf_counter() - start
        return logits

    def draw(self, logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
        start = time.perf_counter()
        draws = draw(logits, rules, uniforms)
        self.time.sampling += time.perf_counter() - start
        return draws
