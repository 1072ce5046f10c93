"""A calibrated oracle in place of policy and reward model: the Bernoulli chain.

An item has `depth` steps, each right with the item's own probability p while all before it are;
after a wrong one the rest is wrong. p is Beta-distributed over items. Right chains end in the
answer 1, wrong ones in one of a few attractors, the same few each time, as wrong answers of models
do. The reward model says 1 for a prefix without error and 0 for others, plus Gaussian noise, cut
to [0, 1]; its noise is told by the AUC that it leaves. Noise is drawn anew for each prefix, and the
same for the same prefix. A step is one token, so that tokens are steps; each has thousands of
wordings, so that two draws are two prefixes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from random import Random
from statistics import NormalDist
from typing import ClassVar

from ponder.runtime import Sampling, ScriptedEngine
from ponder.runtime.script import END
from ponder.runtime.scripted_branch import ScriptedBranch
from ponder.runtime.scripted_constraint import Constraint

WORDINGS = 8192
_RIGHT, _WRONG = 0x4E00, 0x7000
"""First code points of right and of wrong steps."""
ANSWER = "1"
ATTRACTORS: Mapping[str, float] = {"2": 0.5, "3": 0.25, "4": 0.15, "5": 0.1}
ANSWERS = (ANSWER, *ATTRACTORS)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """One setting."""

    name: str
    auc: float
    """Of the reward model's scores, right prefixes against wrong ones, ties as a half."""
    depth: int = 8
    alpha: float = 12.0
    beta: float = 2.0
    """p is Beta(alpha, beta)."""
    seed: int = 0

    @property
    def once(self) -> float:
        """Share of items that one sample answers rightly: the mean of p to the `depth`."""
        pairs = range(self.depth)
        return math.prod((self.alpha + i) / (self.alpha + self.beta + i) for i in pairs)

    @property
    def noise(self) -> float:
        """Standard deviation that leaves this AUC."""
        low, high = 1e-3, 100.0
        for _ in range(60):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if auc(middle) > self.auc else (low, middle)
        return low


def auc(noise: float) -> float:
    """Of clipped scores: P(right > wrong) + P(right = wrong) / 2."""
    right, wrong = NormalDist(1, noise), NormalDist(0, noise)
    tail, parts = right.cdf(0), 400
    values = [right.pdf(i / parts) * wrong.cdf(i / parts) for i in range(parts + 1)]
    between = (sum(values) - (values[0] + values[-1]) / 2) / parts
    return 0.5 * (1 - tail / 2) + 0.25 * tail + between


def question(item: int) -> str:
    return f"Item {item}?"


class ChainBranch(ScriptedBranch):
    """Draws steps of the chain."""

    _engine: ChainEngine

    def _next(self, extra: str = "", *, end: int | None = None) -> dict[int, float]:
        """The token that is drawn, and its probability; nobody asks for the others."""
        drawn = self._tokens[self._prompt :]
        depth = self._engine.oracle.depth
        if len(drawn) >= depth:
            return {END: 1.0}
        right = not drawn or drawn[-1] < _WRONG
        p = self._engine.chance(self._tokens[: self._prompt]) if right else 0.0
        point, last = self.path.uniform(len(self._tokens)), len(drawn) + 1 == depth
        if point < p:
            place = point / p
            return {ord(ANSWER) if last else _RIGHT + int(place * WORDINGS): p}
        place = (point - p) / (1 - p)
        return {attractor(place) if last else _WRONG + int(place * WORDINGS): 1 - p}

    def _draw(
        self, model: Mapping[int, float], params: Sampling, constraint: Constraint | None
    ) -> int:
        return next(iter(model))


def attractor(place: float) -> int:
    """Inverse CDF."""
    answer = ANSWER
    for answer, weight in ATTRACTORS.items():  # noqa: B007 - rounding may leave the last
        place -= weight
        if place < 0:
            break
    return ord(answer)


class ChainEngine(ScriptedEngine):
    """Policy and reward model (head "score") of an oracle."""

    branch: ClassVar[type[ScriptedBranch]] = ChainBranch

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(heads={"score": self._reward})
        self.oracle = oracle
        self._noise = oracle.noise
        self._chances: dict[tuple[int, ...], float] = {}

    def chance(self, prompt: list[int]) -> float:
        """P of the item that a prompt asks about."""
        key = tuple(prompt)
        if key not in self._chances:
            item = "".join(map(chr, prompt)).rpartition("Item ")[2].partition("?")[0]
            self._chances[key] = item_chance(self.oracle, int(item))
        return self._chances[key]

    def _reward(self, text: str) -> tuple[float, ...]:
        right = ord(text[-1]) < _WRONG and text[-1] not in ATTRACTORS
        digest = blake2b(f"{self.oracle.seed}{text}".encode(), digest_size=7).digest()
        normal = _NORMAL.inv_cdf((int.from_bytes(digest, "big") + 0.5) / 2**56)
        return (min(1.0, max(0.0, right + self._noise * normal)),)


@lru_cache(maxsize=65536)
def item_chance(oracle: Oracle, item: int) -> float:
    return Random(f"{oracle.seed} {item}").betavariate(oracle.alpha, oracle.beta)
