"""Judge a candidate by how far its token distributions were from even ones: the mean over tokens of
KL(U || p) = -(1/k) sum log(k p_j), U even over the vocabulary (Kang et al. 2025, arXiv 2502.18581).

Where less than the vocabulary was told of, U is even over the k likeliest tokens. In nats it has no
upper end, so the score is s / (1 + s), which keeps the order. Costs nothing: what it reads came
with the decode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.verifiers.api import Candidate, Question, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCertainty:
    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        return [self_certainty(candidate) for candidate in candidates]


def self_certainty(candidate: Candidate) -> Verdict:
    told = candidate.token_confidence
    if told is None or not told.values:
        return Verdict(
            failure="no token confidence came with this candidate; ask for it, as in "
            "sample(confidence=20), or of the whole vocabulary with a number above its size"
        )
    mean = math.fsum(told.values) / len(told.values)
    certainty = max(0.0, mean - math.log(told.k))  # below 0 by rounding alone
    return Verdict(
        score=certainty / (1 + certainty),
        reason=f"{certainty:.4f} nats from even over {told.k} tokens",
    )
