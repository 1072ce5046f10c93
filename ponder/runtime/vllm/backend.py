"""All that Ponder knows of vLLM's own interface: how it is started, asked and stopped.

vLLM's types are not in the environment that checks ours, and change from release to release; they
end here and in `draws.py`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import packages_distributions, version
from itertools import count
from pathlib import Path
from typing import Any, Final

from ponder.runtime.confidence import confidence_of
from ponder.runtime.errors import InputError, ModelError
from ponder.runtime.vllm.adapters import Adapter, rank_limit

_DRAWS: Final = "ponder.runtime.vllm.draws:PathDraws"
STOPPING: Final = 10.0
"""Seconds that vLLM has to stop by itself."""
EVERY: Final = -1
"""As many log-probabilities as there are tokens in the vocabulary."""
_ENVIRONMENT: Final = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # The other runner hands its logits to processors of another kind; where it is asked for, vLLM
    # refuses ours when it starts.
    "VLLM_USE_V2_MODEL_RUNNER": "0",
}
"""What vLLM reads when it is imported, where the user has not said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What came of a request since the last piece; log-probabilities are in nats."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the tokens; empty where not asked for."""
    confidences: tuple[float, ...]
    """Of the tokens, from as many others as log-probabilities were asked for; else empty."""
    cached: int
    """Tokens of the prompt whose KV was found."""
    given: tuple[float, ...]
    """Of the prompt's tokens behind the first that was not cached, if asked for."""
    every: tuple[float, ...]
    """[vocabulary]: of each token in the place of the first one drawn, if asked for."""
    last: bool


_FIXED: Final = {
    "skip_tokenizer_init": True,
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    "logits_processors": [_DRAWS],
    "max_logprobs": EVERY,
    "generation_config": "vllm",
    "disable_log_stats": True,
    "use_tqdm_on_load": False,
}


class Load:
    """What vLLM tells after each step; it is one of its stat loggers."""

    def __init__(self) -> None:
        self.steps = 0
        self.held = 0.0
        """Share of the pages that requests under way hold."""
        self.preempted = 0

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, *_: object, **__: object
    ) -> None:  # Any: vLLM's
        self.steps += 1
        if scheduler_stats is not None:
            self.held = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self.preempted += iteration_stats.num_preempted_reqs

    def log_engine_initialized(self) -> None: ...

    def log(self) -> None: ...

    def record_sleep_state(self, *_: object) -> None: ...


class Backend:
    """One model in vLLM's own processes. All but the constructor belongs to one event loop."""

    def __init__(
        self,
        path: Path,
        *,
        dtype: str,
        context_length: int | None,
        adapters: Mapping[str, Adapter],
        settings: Mapping[str, Any],  # Any: vLLM's
    ) -> None:
        """Reads the model's configuration; `start` loads the model.

        Args:
            path: a directory in Hugging Face layout.
            dtype: what weights are rounded to, and what is computed in.
            context_length: tokens; None takes the model's.
            adapters: what `ask` may name.
            settings: further fields of vLLM's `EngineArgs`.

        Raises:
            InputError: vLLM cannot run this, and says why.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._vllm: Any = import_module("vllm")  # Any: vLLM's, as all below
        self._inputs: Any = import_module("vllm.inputs")
        chosen = {
            "model": str(path),
            "dtype": dtype,
            "max_model_len": context_length,
            **_FIXED,
            **_lora(adapters),
            **settings,
        }
        try:
            arguments = import_module("vllm.engine.arg_utils").AsyncEngineArgs(**chosen)
            self._config: Any = arguments.create_engine_config()
        except (ValueError, TypeError, OSError, KeyError, NotImplementedError) as error:
            raise InputError(f"vLLM cannot run {str(path)!r}: {error}") from error
        self.vocabulary: int = self._config.model_config.get_vocab_size()
        self.context_length: int = self._config.model_config.max_model_len
        self.load = Load()
        self._adapters = adapters
        self._llm: Any = None
        self._idents = count()

    @property
    def version(self) -> str:
        """Of vLLM, which comes under several names."""
        name = packages_distributions()["vllm"][0]
        return f"{name} {version(name)}"

    @property
    def pages(self) -> int:
        """KV pages there are; 0 before `start`."""
        return self._config.cache_config.num_gpu_blocks or 0

    async def start(self) -> None:
        """Load the model, which takes a minute.

        Raises:
            ModelError: vLLM failed; its own processes have printed why.
        """
        make = import_module("vllm.v1.engine.async_llm").AsyncLLM.from_vllm_config
        try:
            self._llm = make(self._config, disable_log_stats=True, stat_loggers=[self._loader])
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"vLLM did not start ({error}); set VLLM_LOGGING_LEVEL=INFO to see what it did"
            ) from error

    async def ask(
        self,
        tokens: Sequence[int],
        *,
        priority: int = 0,
        adapter: str | None = None,
        **params: Any,
    ) -> AsyncGenerator[Piece, None]:
        """What comes of a request, as it comes; leaving early stops it.

        Args:
            tokens: of the prompt.
            priority: higher goes first.
            adapter: one of those known.
            params: fields of vLLM's `SamplingParams`.
        """
        rule = self._vllm.SamplingParams(
            detokenize=False,
            ignore_eos=True,
            output_kind=import_module("vllm.sampling_params").RequestOutputKind.DELTA,
            flat_logprobs=params.get("logprobs") == EVERY,
            **params,
        )
        outputs = self._llm.generate(
            self._inputs.tokens_input(list(tokens)),
            rule,
            str(next(self._idents)),
            lora_request=self._lora_request(adapter),
            priority=-priority,
        )
        async with aclosing(outputs):
            async for output in outputs:
                yield _piece(output, tokens, params.get("logprobs") or 0)

    def stop(self) -> None:
        if self._llm is not None:
            self._llm.shutdown(timeout=STOPPING)
            self._llm = None  # it would stop itself again when the interpreter ends

    def _loader(self, config: Any, number: int) -> Load:
        return self.load

    def _lora_request(self, name: str | None) -> Any:
        if name is None:
            return None
        adapter = self._adapters[name]
        return import_module("vllm.lora.request").LoRARequest(
            name, adapter.number, str(adapter.path)
        )


def _lora(adapters: Mapping[str, Adapter]) -> dict[str, object]:
    if not adapters:
        return {}
    return {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": rank_limit(adapters.values()),
    }


def _piece(output: Any, tokens: Sequence[int], others: int) -> Piece:
    every = others == EVERY
    (choice,) = output.outputs
    drawn: list[int] = list(choice.token_ids)
    told: Any = choice.logprobs or ()
    one_each: Any = () if every else told
    given: Any = output.prompt_logprobs or ()
    cached = output.num_cached_tokens or 0
    known = cached + 1  # what is told of cached tokens is no number of anything
    return Piece(
        tokens=tuple(drawn),
        logprobs=tuple(at[t].logprob for t, at in zip(drawn, one_each, strict=bool(one_each))),
        confidences=tuple(
            confidence_of((one.logprob for one in at.values()), others)
            for at in (one_each if others else ())
        ),
        cached=cached,
        given=tuple(at[t].logprob for t, at in zip(tokens[known:], given[known:], strict=False)),
        every=_by_token(told) if every and drawn else (),
        last=output.finished,
    )


def _by_token(told: Any) -> tuple[float, ...]:
    """Of one position, which vLLM tells as lists of tokens and log-probabilities in any order."""
    found = dict(zip(told.token_ids, told.logprobs, strict=True))
    return tuple(found[token] for token in range(len(found)))
