"""Temperatures that rise from attempt to attempt: the first is careful, later ones explore. Where
the first is good enough, as it mostly is, nothing is lost to chance (Manvi et al., arXiv
2410.02725; the paper's own formula was not to be had: both here reconstruct what it describes).
"""

from __future__ import annotations

import math

SCHEDULES = ("none", "halving", "exponential")


def annealed(schedule: str, attempt: int, lowest: float, highest: float, kappa: float) -> float:
    """The temperature of an attempt, numbered from 0.

    "none" is `highest` throughout; "halving" is 1 - 2^-attempt of the way from `lowest` to
    `highest`: with 0 and 1 it is 0, 1/2, 3/4, 7/8; "exponential" is 1 - exp(-attempt / kappa) of
    the way.
    """
    left = {
        "none": lambda: 0.0,
        "halving": lambda: 2.0**-attempt,
        "exponential": lambda: math.exp(-attempt / kappa),
    }[schedule]()
    return highest - (highest - lowest) * left
