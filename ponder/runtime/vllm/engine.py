"""vLLM in this process, as an `Engine`.

Each call of a branch is one request whose prompt is the whole journal, as token ids; what the
prefix cache has of it is not computed again, so forks cost nothing. What is given is computed when
it is given. Draws are made by Ponder's own sampler inside vLLM's step (`draws.py`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final
from weakref import finalize

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import check_chat
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.engine.prompts import encode, encode_prompt
from ponder.runtime.errors import CapabilityError, InputError, unknown
from ponder.runtime.grammar import GrammarKind
from ponder.runtime.models.config import Tokenizer
from ponder.runtime.models.load import ON_HUB
from ponder.runtime.models.tokenizer_json import tokenizer_from_directory
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.stats import EngineStats, EngineTime
from ponder.runtime.values import Prompt, SpliceMode
from ponder.runtime.vllm.adapters import read_adapters
from ponder.runtime.vllm.backend import Backend
from ponder.runtime.vllm.branch import VllmBranch
from ponder.runtime.vllm.service import Service
from ponder.runtime.vllm.work import Lane, Work

WEIGHTS: Final = ("float32", "bfloat16")


class VllmEngine:
    """An `Engine` on vLLM's asynchronous one."""

    def __init__(
        self,
        model: str,
        *,
        weights: str = "float32",
        context_length: int | None = None,
        adapters: Mapping[str, str | Path] | None = None,
        settings: Mapping[str, Any] | None = None,  # Any: vLLM's
    ) -> None:
        """Start vLLM, which takes a minute.

        Args:
            model: a directory in Hugging Face layout with a tokenizer.json, or ORG/NAME on the hub.
            weights: "float32" or "bfloat16", which is computed in too.
            context_length: tokens; None takes the model's.
            adapters: directories of LoRA adapters, by the names `open` takes; an engine with any
                has no `score`.
            settings: further fields of vLLM's `EngineArgs`, as `max_num_seqs`.
        """
        if weights not in WEIGHTS:
            raise InputError(f"weights {weights!r}: vLLM takes {' or '.join(WEIGHTS)} here")
        self._adapters = read_adapters(adapters or {})
        path = _directory(model)
        backend = Backend(
            path,
            dtype=weights,
            context_length=context_length,
            adapters=self._adapters,
            settings=settings or {},
        )
        self.vocabulary_size = backend.vocabulary
        self.context_length = backend.context_length
        self.tokenizer: Tokenizer = tokenizer_from_directory(path, vocabulary=self.vocabulary_size)
        self.name = f"{path.name if os.path.isdir(model) else model} ({backend.version}, {weights})"
        self.capabilities = _capabilities(
            self.context_length, self.vocabulary_size, adapters=bool(adapters)
        )
        spellings, ends = self.tokenizer.spellings(), self.tokenizer.end_tokens
        self._vocabulary = Vocabulary(spellings, ends, self.vocabulary_size)
        self.work = Work(backend)
        self.service = Service(backend, self.name)
        self._backend = backend
        self._stop = finalize(self, self.service.stop)
        self._idents = count()
        self._live: set[int] = set()

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> VllmBranch:
        """A branch that starts with `prompt`; a higher `priority` goes first."""
        return await self.reopen(prompt, Standing(path=path), priority=priority, adapter=adapter)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> VllmBranch:
        """One that fills the context is refused: vLLM takes no prompt without room for a token."""
        if adapter is not None and adapter not in self._adapters:
            raise CapabilityError(
                f"engine {self.name!r}: {unknown('adapter', adapter, self._adapters)}; open "
                "without one, or name it when the engine is opened"
            )
        self.service.check()
        check_chat(prompt, self.capabilities, self.name)
        given = encode_prompt(self.tokenizer, prompt, self.context_length, self.vocabulary_size)
        standing.check(len(given), vocabulary=self.vocabulary_size, context=self.context_length - 1)
        tokens = [*given, *standing.tokens]
        lane = Lane(priority=priority, adapter=adapter)
        work = self.work.give(lane, tokens, 0, opened=True)
        usage = await asyncio.wrap_future(self.service.begin(work))
        origin = Origin(standing.path, given, standing.forks)
        return VllmBranch(self, origin, lane, tokens, len(given), usage, own=standing.own)

    def count(self, prompt: Prompt) -> int:
        return len(self.encode(prompt))

    def encode(self, prompt: Prompt, *, bare: bool = False) -> list[int]:
        return encode(self.tokenizer, prompt, self.vocabulary_size, bare=bare)

    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    def spell(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens)

    def clock(self) -> float:
        return time.monotonic()

    def stats(self) -> EngineStats:
        """What vLLM does not tell is 0: its time, pages shared and evicted."""
        load, pages = self._backend.load, self._backend.pages
        return EngineStats(
            **asdict(self.work.counts),
            time=EngineTime(),
            steps=load.steps,
            pages=pages,
            pages_held=round(load.held * pages),
            pages_shared=0,
            evicted=0,
            preempted=load.preempted,
            branches=len(self._live),
        )

    async def close(self) -> None:
        """Stop vLLM; calls under way get a `ModelError`. Again is no harm."""
        await asyncio.to_thread(self._stop)

    def adopt(self) -> Callable[[], None]:
        """What lets go of a new branch."""
        ident = next(self._idents)
        self._live.add(ident)
        return partial(self._live.discard, ident)


def _capabilities(context_length: int, vocabulary: int, *, adapters: bool) -> Capabilities:
    can = Capabilities.everything(
        context_length,
        vocabulary=vocabulary,
        splice=frozenset([SpliceMode.REENCODE]),
        live_views=False,
        hidden_states=False,
        heads=(),
    )
    # Where adapters are loaded, vLLM dies of prompt log-probabilities (0.32, on CPUs), with an
    # adapter or without.
    none = frozenset[GrammarKind]()
    return replace(can, prompt_logprobs=not adapters, grammars=none, grammar_start=False)


def _directory(model: str) -> Path:
    place = Path(os.path.expanduser(model))
    if model and os.path.isdir(place):
        return place.resolve()
    if ON_HUB.fullmatch(model) and not os.path.exists(place):
        from ponder.runtime.models import hub

        return hub.snapshot(model)
    raise InputError(
        f"model {model!r} is nothing that vLLM reads here; give the path of a directory with "
        "config.json, tokenizer.json and safetensors, or ORG/NAME on the hub"
    )
