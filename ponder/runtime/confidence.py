"""Token confidence: how peaked the distribution is that a token is drawn from, as the mean
surprisal of its k likeliest tokens, -(1/k) sum log p, in nats (Fu et al. 2025, arXiv 2508.15260,
section 2).

It is of the model's own distribution, whatever the sampling settings. Larger is more peaked; log k
is the least there is, where the k share all probability evenly.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from ponder.runtime.errors import CapabilityError, InputError

LEAST = -104.0
"""Nats that a token counts with whose probability is smaller, as 0 is: below what float32 holds. So
confidence is a number where a model rules tokens out.
"""


def confidence_of(logprobs: Iterable[float], k: int) -> float:
    """Of one distribution, from log-probabilities in any order; tokens that are missing among the k
    likeliest count as impossible.
    """
    likeliest = [max(value, LEAST) for value in heapq.nlargest(k, logprobs)]
    return -(math.fsum(likeliest) + (k - len(likeliest)) * LEAST) / k


def check_confidence(engine: str, k: int, most: int) -> None:
    """Raises where `engine` does not tell what `k` tokens need."""
    if k and not most:
        raise CapabilityError(
            f"engine {engine!r} tells no log-probabilities of other tokens than the drawn ones, so "
            "no confidence; leave it out, or take an engine that does"
        )
    if k > most:
        raise InputError(
            f"confidence is {k!r}, but engine {engine!r} tells of at most {most} tokens; ask for 0 "
            f"(none) to {most}"
        )
