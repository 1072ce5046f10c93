"""The workloads of the engine benchmark, as values; each round has prompts of its own, so that no
cache knows them from before.

Speed is tokens drawn over seconds, the prompt's computation included, but for W3, which counts the
prompt's tokens (and draws one). Each contender gets the same tokens in the same round.

- w1: one stream, a 64-token prompt, 128 tokens.
- w2_16, w2_64: samples of one 200-token prompt, 128 tokens each, temperature 1.
- w3: a prompt of 1,024 tokens.
- w4: tree search on a 200-token prompt: 16 branches; every 32 tokens 4 are kept, by lot, and each
  forks into 4; to 256 tokens.
- w5: a branch of 2,000 tokens: 5 times, 400 tokens in its middle are dropped and 200 are drawn. Who
  can keeps the KV behind the gap and moves it, others compute it anew. w5_reencode: all anew.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.rivals.protocol import Prune, Samples, Tree, Work
from ponder.runtime import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    tokens: tuple[int, ...]
    text: str
    seed: int


class Prompts:
    """Prompts of an exact number of tokens: words that are one token each, in random order."""

    def __init__(self, model: LoadedModel) -> None:
        self._tokenizer = model.tokenizer
        texts = {i: model.tokenizer.decode([i]) for i in range(model.config.vocabulary)}
        words = [i for i, text in texts.items() if re.fullmatch(" [a-z]{3,9}", text)]
        self._words = [i for i in words if model.tokenizer.encode(texts[i]) == [i]]

    def make(self, workload: str, turn: int, length: int) -> Prompt:
        chance = random.Random(f"{workload} {turn}")
        tokens = tuple(chance.choices(self._words, k=length))
        return Prompt(tokens=tokens, text=self._tokenizer.decode(tokens), seed=turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    name: str
    length: int
    """Tokens of the prompt."""
    work: Callable[[Prompt], Work]
    counts_prompt: bool = False

    def tokens(self, work: Work) -> int:
        """What its speed counts."""
        return self.length if self.counts_prompt else work.decoded


def samples(prompt: Prompt, branches: int, tokens: int) -> Samples:
    return Samples(
        prompt=prompt.tokens, text=prompt.text, seed=prompt.seed, branches=branches, tokens=tokens
    )


def tree(prompt: Prompt) -> Tree:
    chance = random.Random(prompt.seed)
    return Tree(
        prompt=prompt.tokens,
        text=prompt.text,
        seed=prompt.seed,
        branches=16,
        segment=32,
        keeps=[sorted(chance.sample(range(16), 4)) for _ in range(7)],
    )


def prune(prompt: Prompt, mode: Literal["shift", "reencode"]) -> Prune:
    length, starts = len(prompt.tokens), list[int]()
    for _ in range(5):
        starts.append((length - 400) // 2)
        length -= 200
    return Prune(
        prompt=prompt.tokens,
        text=prompt.text,
        seed=prompt.seed,
        starts=starts,
        dropped=400,
        tokens=200,
        mode=mode,
    )


def sampling(name: str, length: int, branches: int, tokens: int) -> Workload:
    return Workload(name=name, length=length, work=lambda p: samples(p, branches, tokens))


FIRST_TOKEN = sampling("first_token", 64, 1, 1)
STANDARD: Sequence[Workload] = (
    sampling("w1", 64, 1, 128),
    sampling("w2_16", 200, 16, 128),
    sampling("w2_64", 200, 64, 128),
    Workload(name="w3", length=1024, work=lambda p: samples(p, 1, 1), counts_prompt=True),
    Workload(name="w4", length=200, work=tree),
    Workload(name="w5", length=2000, work=lambda p: prune(p, "shift")),
    Workload(name="w5_reencode", length=2000, work=lambda p: prune(p, "reencode")),
)
BRANCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (64, 256, 1024, 4096, 8160)
GROWTH: Sequence[Workload] = (
    *(sampling(f"branches_{n}", 200, n, 32) for n in BRANCHES),
    *(sampling(f"context_{n}", n, 1, 32) for n in CONTEXTS),
)
"""Samples of one prompt, and one stream behind a longer and longer one: 32 tokens each."""
