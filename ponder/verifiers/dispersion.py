"""How far groups of equal answers are apart: their entropy, and the certainty that it leaves (Fu et
al. 2024, arXiv 2412.20993).
"""

from __future__ import annotations

import math
from collections.abc import Iterable


def entropy(sizes: Iterable[float]) -> float:
    """Nats, of groups of these sizes, each at least 1."""
    counted = list(sizes)
    total = sum(counted)
    return math.fsum(-n / total * math.log(n / total) for n in counted)


def certainty(sizes: Iterable[float]) -> float:
    """Certaindex of n answers in groups of these sizes: (ln n - H) / ln n. 1 where all agree, 0
    where each is alone; and 0 of fewer than two answers, which cannot disagree.
    """
    counted = list(sizes)
    total = sum(counted)
    if total < 2:
        return 0.0
    return min(1.0, max(0.0, 1 - entropy(counted) / math.log(total)))
