"""How the metrics that `when` branches on are measured over the candidates so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from ponder.verifiers import Candidate, Equivalence, Question, answer_of, certainty, group


async def measure(
    metric: str, question: Question, candidates: Sequence[Candidate], equivalence: Equivalence
) -> float:
    """In [0, 1]; 0 of no candidates."""
    verdicts = (c.verdict for c in candidates)
    scores = [v.score for v in verdicts if v is not None and v.score is not None]
    if metric == "best_score":
        return max(scores, default=0.0)
    if metric == "mean_score":
        # Exact before it is rounded, so that no order of summing shows and no mean is above 1.
        return math.fsum(scores) / max(1, len(scores))
    numbers = await group([answer_of(question, c) for c in candidates], equivalence)
    sizes = defaultdict[int, float](float)
    for number, candidate in zip(numbers, candidates, strict=True):
        if number is not None:
            sizes[number] += candidate.weight
    if metric == "certainty":
        # Who gave no answer agrees with nobody.
        alone = (c.weight for n, c in zip(numbers, candidates, strict=True) if n is None)
        return certainty([*sizes.values(), *alone])
    return max(sizes.values(), default=0.0) / (math.fsum(c.weight for c in candidates) or 1.0)
