"""Hugging Face transformers as a contender: `generate` on a cache that is kept between calls.

The prompt is computed once and its cache repeated for the samples; a tree's survivors are picked
out of the batch's cache; a pruned branch keeps the cache before the gap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from benchmarks.rivals.protocol import Prune, Samples, Tree, Work, serve

THREADS = os.cpu_count() or 1


class Cache:
    """Sequences of equal length and their KV, all but the last token's."""

    def __init__(self, model: Any, prompt: Sequence[int]) -> None:
        # The library is untyped here: `Any` stands for its model and cache.
        self._model = model
        self._cache: Any = DynamicCache(config=model.config)
        self.tokens = torch.tensor([list(prompt)])
        self._compute(self.tokens[:, :-1])

    def pick(self, rows: Sequence[int]) -> None:
        """Go on with these sequences, in this order; a row may stand more than once."""
        which = torch.tensor(rows)
        self._cache.reorder_cache(which)
        self.tokens = self.tokens[which]

    def drop(self, start: int, stop: int) -> None:
        """Cut tokens out and compute anew what stands behind them."""
        self.tokens = torch.cat([self.tokens[:, :start], self.tokens[:, stop:]], dim=1)
        self._cache.crop(start - self._cache.get_seq_length())
        if self.tokens.shape[1] - 1 > start:
            self._compute(self.tokens[:, start:-1])

    def grow(self, steps: int) -> int:
        before = self.tokens.shape[1]
        self.tokens = self._model.generate(
            self.tokens,
            attention_mask=torch.ones_like(self.tokens),
            cache=self._cache,
            max_new_tokens=steps,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=None,
            pad_token_id=0,
        )
        return (self.tokens.shape[1] - before) * self.tokens.shape[0]

    def _compute(self, tokens: torch.Tensor) -> None:
        self._model.model(tokens, cache=self._cache)


class HuggingFace:
    """A `Contender`."""

    def __init__(self, model: str, dtype: torch.dtype) -> None:
        torch.set_num_threads(THREADS)
        self._model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        self._model.generation_config.eos_token_id = None
        self.description = f"transformers, {dtype}, eager, {THREADS} threads"
        self.versions = {"transformers": version("transformers"), "torch": version("torch")}

    def prepare(self, work: Work) -> None:
        torch.manual_seed(work.seed)

    @torch.inference_mode()
    def run(self, work: Work) -> int:
        cache = Cache(self._model, work.prompt)
        if isinstance(work, Samples):
            cache.pick([0] * work.branches)
            return cache.grow(work.tokens)
        if isinstance(work, Tree):
            return _tree(cache, work)
        return _prune(cache, work)


def _tree(cache: Cache, work: Tree) -> int:
    cache.pick([0] * work.branches)
    drawn = cache.grow(work.segment)
    for keep in work.keeps:
        cache.pick([i for i in keep for _ in range(work.branches // len(keep))])
        drawn += cache.grow(work.segment)
    return drawn


def _prune(cache: Cache, work: Prune) -> int:
    drawn = 0
    for start in work.starts:
        cache.drop(start, start + work.dropped)
        drawn += cache.grow(work.tokens)
    return drawn


if __name__ == "__main__":
    model, dtype = sys.argv[1:]
    serve(lambda: HuggingFace(model, getattr(torch, dtype)))
