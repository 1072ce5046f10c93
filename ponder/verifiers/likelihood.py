"""Judge a candidate by how likely the model itself found it: the geometric mean of its token
probabilities.

The mean is over tokens, so that length alone neither helps nor hurts. Costs nothing: the log-
probabilities came with the decode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.verifiers.api import Candidate, Question, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        return [likelihood(candidate) for candidate in candidates]


def likelihood(candidate: Candidate) -> Verdict:
    if not candidate.logprobs:
        return Verdict(failure="the engine told no log-probabilities for this candidate")
    mean = math.fsum(candidate.logprobs) / len(candidate.logprobs)
    if math.isnan(mean):
        return Verdict(failure="a log-probability is not a number")
    return Verdict(score=min(1.0, math.exp(mean)), reason=f"{mean:.4f} nats a token")
