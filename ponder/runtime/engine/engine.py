"""The engine Ponder owns: runs a loaded model for many branches at once.

The async face: it tokenises, checks, and posts work to the one thread that owns all tables. Any
number of event loops may use it, one after the other or at the same time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from weakref import finalize

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import TOOLS, check_chat, offers_tools
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.engine.branch import LocalBranch
from ponder.runtime.engine.core import Core
from ponder.runtime.engine.handle import Handle
from ponder.runtime.engine.jobs import Prefill
from ponder.runtime.engine.journal import Journal
from ponder.runtime.engine.loop import EngineThread
from ponder.runtime.engine.pool import default_pages
from ponder.runtime.engine.prompts import encode, encode_prompt
from ponder.runtime.errors import CapabilityError, InputError, unknown
from ponder.runtime.models.config import LoadedModel, ModelConfig, Tokenizer
from ponder.runtime.models.heads import Head
from ponder.runtime.runners.api import Runner
from ponder.runtime.runners.choice import Kernels, WeightFormat, choose_runner
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.stats import EngineStats, EngineTime
from ponder.runtime.values import Prompt, SpliceMode


class LocalEngine:
    """An `Engine` on this machine's CPU or GPU."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        pages: int | None = None,
        threads: int | None = None,
        step_tokens: int = 512,
        weight_format: WeightFormat = "float32",
        kernels: Kernels = "auto",
        heads: Mapping[str, Head] | None = None,
    ) -> None:
        """Start the engine's thread.

        Args:
            model: weights, shape and tokenizer.
            pages: KV pages of 16 tokens; by default a quarter of the memory, at most 4 GiB, and on
                a GPU most of what the weights leave.
            threads: that share a step; by default one a core.
            step_tokens: tokens computed in one step, at most, of decodes and of prompts.
            weight_format: what weights are rounded to; all but float32 need the native step or
                a GPU, int8 the native step.
            kernels: by default the best this machine and this build have (`runners.choice`).
            heads: beside those that came with the model, or in their place.
        """
        for name, value in (("pages", pages), ("threads", threads), ("step_tokens", step_tokens)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value!r}; it must be at least 1")
        runner = choose_runner(
            model,
            weight_format=weight_format,
            kernels=kernels,
            threads=threads or os.cpu_count() or 1,
        )
        self.name = f"{model.name} ({runner.description})"
        self.config: ModelConfig = model.config
        self.tokenizer: Tokenizer = model.tokenizer
        self.heads: Mapping[str, Head] = {
            name: head.fitted(name, model.config.hidden)
            for name, head in {**model.heads, **(heads or {})}.items()
        }
        self.capabilities = _capabilities(runner, self.heads, tools=self.tokenizer.tools)
        pages = pages or default_pages(model.config, runner)
        self.core = Core(runner, pages, step_tokens)
        self.thread = EngineThread(self.core, self.name, runner.torch_threads)
        self._runner_time = runner.time
        self._stop = finalize(self, self.thread.stop)
        self._idents = count()
        self._live: set[int] = set()
        self._vocabulary: Vocabulary | None = None

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> LocalBranch:
        """A branch that starts with `prompt`; a higher `priority` goes first."""
        return await self.reopen(prompt, Standing(path=path), priority=priority, adapter=adapter)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> LocalBranch:
        if adapter is not None:
            raise CapabilityError(
                f"engine {self.name!r} has no adapter {adapter!r}; open without one"
            )
        self.thread.check()
        check_chat(prompt, self.capabilities, self.name)
        context, vocabulary = self.config.context_length, self.config.vocabulary
        given = encode_prompt(self.tokenizer, prompt, context, vocabulary)
        standing.check(len(given), vocabulary=vocabulary, context=context)
        tokens = [*given, *standing.tokens]
        handle = Handle(self, standing.path, tools=offers_tools(prompt))
        job = Prefill(len(tokens), 0, waits=1)
        try:
            await handle.call(partial(self.core.open, handle.ident, tokens, priority, job), job)
        except BaseException:
            handle.close()
            raise
        origin = Origin(standing.path, given, standing.forks)
        journal = Journal.of(tokens, standing.own)
        return LocalBranch(handle, origin, journal, len(given), job.usage)

    def vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            spellings, ends = self.tokenizer.spellings(), self.tokenizer.end_tokens
            self._vocabulary = Vocabulary(spellings, ends, self.config.vocabulary)
        return self._vocabulary

    def count(self, prompt: Prompt) -> int:
        return len(self.encode(prompt))

    def encode(self, prompt: Prompt, *, bare: bool = False) -> list[int]:
        return encode(self.tokenizer, prompt, self.config.vocabulary, bare=bare)

    def spell(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens)

    def clock(self) -> float:
        return time.monotonic()

    def stats(self) -> EngineStats:
        """Counters as of the last step."""
        core = self.core
        return EngineStats(
            **asdict(core.counts),
            time=self._time(),
            pages=core.pool.total,
            pages_held=core.pool.held,
            pages_shared=core.pool.shared,
            evicted=core.tree.evicted,
            preempted=core.scheduler.preempted,
            branches=len(self._live),
            pages_cached=core.tree.alone,
        )

    async def close(self) -> None:
        """Stop the thread; calls under way get a `ModelError`. Again is no harm."""
        self.thread.ask_to_stop()
        await asyncio.to_thread(self._stop)

    def adopt(self) -> tuple[int, Callable[[], None]]:
        """A new lane's number, and what lets go of it."""
        ident = next(self._idents)
        self._live.add(ident)
        return ident, partial(_let_go, self._live, self.core, self.thread, ident)

    def head(self, name: str) -> Head:
        if name not in self.heads:
            raise CapabilityError(
                f"engine {self.name!r}: {unknown('head', name, self.heads)}; open a model that has "
                "one, or give it as `LocalEngine(heads=...)`"
            )
        return self.heads[name]

    def _time(self) -> EngineTime:
        kernels = self._runner_time
        spent = EngineTime(**asdict(kernels))
        return replace(spent, host=max(0.0, self.thread.seconds - spent.total))


def _capabilities(runner: Runner, heads: Iterable[str], *, tools: bool) -> Capabilities:
    speaks = runner.config.language_head
    whole = Capabilities.everything(
        runner.config.context_length,
        vocabulary=runner.config.vocabulary if speaks else 0,
        splice=frozenset(SpliceMode if runner.shifts else [SpliceMode.REENCODE]),
        live_views=runner.shifts,
        hidden_states=True,
        heads=tuple(heads),
        chat=frozenset({TOOLS} if tools else ()),
    )
    return replace(whole, logprobs=speaks, prompt_logprobs=speaks, logits=speaks)


def _let_go(live: set[int], core: Core, thread: EngineThread, ident: int) -> None:
    live.discard(ident)
    thread.post(partial(core.close, ident))
