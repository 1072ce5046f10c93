"""Predict whether starting again would do better (Manvi et al., arXiv 2410.02725): behind an
attempt, or the beginning of one, the model is asked whether a new one would be better, and the
probability of No against Yes is how likely this one is at least as good as a fresh one.

The paper trains the model to answer; here one is asked that was not, so what it says is a ranking
more than a probability, and `platt` is there to calibrate it.
"""

from __future__ import annotations

import math

from ponder.verifiers import wording
from ponder.verifiers.label_reward import Labels

RESTART = Labels(good="No", bad="Yes", probe=wording.RESTART)
"""Read on a fork of the attempt's own branch where that lives, else behind question and attempt."""


def platt(score: float, slope: float, offset: float) -> float:
    """sigmoid(slope * logit(score) + offset): a score fitted to how often it is right (Platt 1999).

    Args:
        score: in [0, 1]; both ends stay as they are.
        slope: above 0, so that the order of scores stays; 1 with offset 0 changes nothing.
        offset: in nats.
    """
    if (slope, offset) == (1.0, 0.0) or score in (0.0, 1.0):
        return score
    turned = slope * (math.log(score) - math.log1p(-score)) + offset
    return 1 / (1 + math.exp(-turned)) if turned > -700 else 0.0
