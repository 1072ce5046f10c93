"""llama.cpp as a contender, through its low-level bindings: one batch a step for all sequences, a
prompt computed once and copied to the others' caches, pruning by its own cache shift.

Tokens are drawn by numpy on two threads, the inverse of the cumulated softmax, which was faster
than its own sampler chain.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import llama_cpp as llama
import numpy as np
import numpy.typing as npt

from benchmarks.rivals.protocol import Prune, Samples, Tree, Work, serve

THREADS = os.cpu_count() or 1
RUN = 64
"""Tokens summed together before the run that a draw falls into is searched."""
Logits = npt.NDArray[np.float32]
_QUIET = llama.llama_log_callback(lambda level, text, data: None)  # it logs each graph


class Cache:
    """One llama.cpp context: sequences with their KV, and the next token of each."""

    def __init__(self, model: Any, sequences: int, length: int, unified: bool) -> None:
        # The bindings are untyped: `Any` stands for their handles.
        settings = llama.llama_context_default_params()
        settings.n_ctx = sequences * (-(-length // 256) * 256)
        settings.n_batch, settings.n_ubatch = 8192, 512
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = THREADS
        # What was faster for it: a buffer a sequence and flash attention, except where sequences
        # fork again and again.
        settings.kv_unified, settings.flash_attn_type = unified, int(not unified)
        self._context: Any = llama.llama_init_from_model(model, settings)
        self._memory: Any = llama.llama_get_memory(self._context)
        self._batch: Any = llama.llama_batch_init(settings.n_batch, 0, 1)
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self._chance = np.random.default_rng(0)
        self._workers = ThreadPoolExecutor(THREADS)
        self._length = np.zeros(sequences, np.int32)
        self._next = np.zeros(sequences, np.int32)

    def free(self) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._context)

    def restart(self, prompt: Sequence[int], sequences: int) -> list[list[int]]:
        """Compute the prompt once for the first `sequences`; the first token of each."""
        llama.llama_memory_clear(self._memory, True)
        self._length[:] = 0
        logits = self._compute(prompt, [0] * len(prompt), last=True)
        for other in range(1, sequences):
            self._copy(0, other)
        return self._draw(np.repeat(logits, sequences, axis=0), range(sequences))

    def grow(self, sequences: int, steps: int) -> list[list[int]]:
        """`steps` more tokens of each of the first `sequences`, step by step."""
        rows = range(sequences)
        return [
            self._draw(self._compute(self._next[:sequences], rows), rows)[0] for _ in range(steps)
        ]

    def fork(self, keep: Sequence[int], sequences: int) -> None:
        """Each kept sequence stays where it is and takes its share of the others' places."""
        places = iter([i for i in range(sequences) if i not in keep])
        for parent in keep:
            for _ in range(sequences // len(keep) - 1):
                child = next(places)
                llama.llama_memory_seq_rm(self._memory, child, -1, -1)
                self._copy(parent, child)

    def drop(self, start: int, stop: int) -> None:
        """Cut tokens out of sequence 0 and move the rest up: its context shift."""
        llama.llama_memory_seq_rm(self._memory, 0, start, stop)
        llama.llama_memory_seq_add(self._memory, 0, stop, -1, start - stop)
        self._length[0] -= stop - start

    def recompute(self, start: int, tokens: Sequence[int]) -> None:
        """Replace everything of sequence 0 from `start` on; the last token waits to be computed."""
        llama.llama_memory_seq_rm(self._memory, 0, start, -1)
        self._length[0] = start
        if len(tokens) > 1:
            self._compute(tokens[:-1], [0] * (len(tokens) - 1), last=True)
        self._next[0] = tokens[-1]

    def _copy(self, parent: int, child: int) -> None:
        llama.llama_memory_seq_cp(self._memory, parent, child, -1, -1)
        self._length[child], self._next[child] = self._length[parent], self._next[parent]

    def _compute(
        self, tokens: Sequence[int] | npt.NDArray[np.int32], rows: Sequence[int], last: bool = False
    ) -> Logits:
        """Logits after each token, or after the `last` only, [rows, vocabulary]."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, row) in enumerate(zip(tokens, rows, strict=True)):
            batch.token[i] = int(token)
            batch.pos[i] = int(self._length[row])
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = row
            batch.logits[i] = not last or i + 1 == len(tokens)
            self._length[row] += 1
        if answer := llama.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode answered {answer}")
        shape = (1 if last else len(tokens), self._vocabulary)
        return np.ctypeslib.as_array(llama.llama_get_logits(self._context), shape)

    def _draw(self, logits: Logits, rows: Sequence[int]) -> list[list[int]]:
        points = self._chance.random(len(logits))
        parts = np.array_split(np.arange(len(logits)), min(THREADS, len(logits)))
        drawn = self._workers.map(lambda part: _invert(logits[part], points[part]), parts)
        self._next[: len(rows)] = np.concatenate(list(drawn))
        return [self._next[: len(rows)].tolist()]


def _invert(logits: Logits, points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The token a row that its point in [0, 1) falls on."""
    weights = np.exp(logits - logits.max(axis=1, initial=-np.inf, keepdims=True))
    runs = weights.reshape(len(weights), -1, RUN)
    sums = runs.sum(axis=2).cumsum(axis=1, dtype=np.float64)
    goals = points[:, None] * sums[:, -1:]
    run = np.minimum((sums <= goals).sum(axis=1), sums.shape[1] - 1)
    every = np.arange(len(weights))
    inside = runs[every, run].cumsum(axis=1, dtype=np.float64)
    before = sums[every, run] - inside[:, -1]
    token = np.minimum((inside + before[:, None] <= goals).sum(axis=1), RUN - 1)
    return np.asarray(run * RUN + token)


class LlamaCpp:
    """A `Contender`."""

    def __init__(self, model: str, weights: str) -> None:
        llama.llama_log_set(_QUIET, None)
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        self._model: Any = llama.llama_model_load_from_file(model.encode(), settings)
        self._cache: Cache | None = None
        build = llama.llama_print_system_info().decode().strip(" |")
        self.description = f"llama.cpp, {weights}, {THREADS} threads; {build}"
        self.versions = {"llama-cpp-python": version("llama-cpp-python")}

    def prepare(self, work: Work) -> None:
        """A context of the size that the work needs."""
        if self._cache is not None:
            self._cache.free()
        sequences = 1 if isinstance(work, Prune) else work.branches
        self._cache = Cache(self._model, sequences, _length(work), isinstance(work, Tree))

    def run(self, work: Work) -> int:
        if self._cache is None:
            raise RuntimeError("`prepare` comes first")
        if isinstance(work, Samples):
            return _samples(self._cache, work)
        if isinstance(work, Tree):
            return _tree(self._cache, work)
        return _prune(self._cache, work)


def _length(work: Work) -> int:
    """Tokens of the longest sequence."""
    if isinstance(work, Samples):
        return len(work.prompt) + work.tokens
    if isinstance(work, Tree):
        return len(work.prompt) + work.segment * (len(work.keeps) + 1)
    return len(work.prompt) + work.tokens + 1


def _samples(cache: Cache, work: Samples) -> int:
    drawn = cache.restart(work.prompt, work.branches)
    drawn += cache.grow(work.branches, work.tokens - 1)
    return sum(map(len, drawn))


def _tree(cache: Cache, work: Tree) -> int:
    drawn = cache.restart(work.prompt, work.branches)
    drawn += cache.grow(work.branches, work.segment - 1)
    for keep in work.keeps:
        cache.fork(keep, work.branches)
        drawn += cache.grow(work.branches, work.segment)
    return sum(map(len, drawn))


def _prune(cache: Cache, work: Prune) -> int:
    tokens = list(work.prompt)
    cache.recompute(0, tokens)
    drawn = 0
    for start in work.starts:
        stop = start + work.dropped
        del tokens[start:stop]
        if work.mode == "shift":
            cache.drop(start, stop)
        else:
            cache.recompute(start, tokens[start:])
        fresh = [step[0] for step in cache.grow(1, work.tokens)]
        tokens += fresh
        drawn += len(fresh)
    return drawn


if __name__ == "__main__":
    model, weights = sys.argv[1:]
    serve(lambda: LlamaCpp(model, weights))
