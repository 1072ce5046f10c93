"""The torch path: runs anywhere torch does, in float32; the oracle for every other runner."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from ponder.runtime.errors import ModelError
from ponder.runtime.runners.api import StepTime, Work
from ponder.runtime.runners.memory import (
    KVMemory,
    allocate_memory,
    host_kv_bytes,
    page_bytes,
)
from ponder.runtime.runners.plan import make_plan
from ponder.runtime.runners.sampler import Draw, Rule, draw
from ponder.runtime.runners.torch_llama import Llama


class TorchRunner:
    """The torch model, in float32."""

    description = "float32, torch"
    shifts = True

    def __init__(self, model: Llama, threads: int = 1) -> None:
        self.torch_threads = threads
        self.config = model.config
        self.time = StepTime()
        self._model = model
        self.memory: KVMemory | None = None
        """None before `reserve`."""

    def page_bytes(self) -> int:
        return page_bytes(self.config)

    def kv_bytes(self) -> int:
        return host_kv_bytes()

    def reserve(self, pages: int) -> None:
        self.memory = allocate_memory(self.config, pages)

    def hidden(self, works: Sequence[Work]) -> Tensor:
        if self.memory is None:
            raise ModelError("a step before `reserve`: a bug in the engine")
        plan = make_plan(works)
        start = time.perf_counter()
        hidden = self._model.hidden(plan, self.memory)
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
