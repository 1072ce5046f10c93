"""How the metrics that `when` branches on are measured over the candidates so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from ponder.verifiers import Candidate, Equivalence, Question, answer_of, group


async def measure(
    metric: str, question: Question, candidates: Sequence[Candidate], equivalence: Equivalence
) -> float:
    """In [0, 1]; 0 of no candidates."""
    if metric == "best_score":
        verdicts = (c.verdict for c in candidates)
        return max((v.score for v in verdicts if v and v.score is not None), default=0.0)
    numbers = await group([answer_of(question, c.text) for c in candidates], equivalence)
    sizes = defaultdict[int, float](float)
    for number, candidate in zip(numbers, candidates, strict=True):
        if number is not None:
            sizes[number] += candidate.weight
    return max(sizes.values(), default=0.0) / (math.fsum(c.weight for c in candidates) or 1.0)
