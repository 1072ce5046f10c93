"""How the metrics that `when` branches on are measured over the candidates so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ponder.verifiers import Candidate, Equivalence, certainty, extract, group


async def measure(metric: str, candidates: Sequence[Candidate], equivalence: Equivalence) -> float:
    """In [0, 1]; 0 of no candidates."""
    if metric == "best_score":
        verdicts = (c.verdict for c in candidates)
        return max((v.score for v in verdicts if v and v.score is not None), default=0.0)
    numbers = await group([extract(c.text) for c in candidates], equivalence)
    sizes = Counter(number for number in numbers if number is not None)
    if metric == "certainty":
        # Who gave no answer agrees with nobody.
        return certainty([*sizes.values(), *[1] * numbers.count(None)])
    return max(sizes.values(), default=0) / max(1, len(candidates))
