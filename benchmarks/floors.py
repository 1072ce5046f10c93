"""The floors of the design (section 6) that the engine benchmark checks: how many times a rival's
speed Ponder is to have on a workload, in a weight format or in its fastest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Speeds = Mapping[str, Sequence[float]]
"""Tokens a second of each contender, one number a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    workload: str
    rival: str
    factor: float
    weights: str = ""
    """Empty: the fastest format that ran."""


FLOORS: Sequence[Floor] = (
    Floor(workload="w1", rival="llamacpp", factor=1.2),
    # The design's number was of a build with AMX; without, this format is its fastest.
    Floor(workload="w1", rival="llamacpp_q4_0", factor=1.2),
    Floor(workload="w2_16", rival="vllm", factor=2.5, weights="bfloat16"),
    Floor(workload="w2_16", rival="vllm", factor=3.5, weights="int8"),
    Floor(workload="w2_64", rival="vllm", factor=2.2, weights="bfloat16"),
    Floor(workload="w2_64", rival="vllm", factor=2.7, weights="int8"),
    Floor(workload="w3", rival="vllm", factor=1.2),
    Floor(workload="w4", rival="vllm", factor=2.8, weights="bfloat16"),
    Floor(workload="w4", rival="vllm", factor=3.8, weights="int8"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:,.4g} [{self.low:,.4g}, {self.high:,.4g}]"


def spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = (ordered[middle] + ordered[-middle - 1]) / 2
    return Spread(median=median, low=ordered[0], high=ordered[-1])


def ratio(speeds: Speeds, ours: str, theirs: str) -> Spread:
    """Of the speeds in each round, so that what slowed a whole round does not count."""
    return spread([a / b for a, b in zip(speeds[ours], speeds[theirs], strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    floor: Floor
    ours: str
    """The contender it was measured with; empty where it was not measured."""
    ratio: Spread | None

    @property
    def met(self) -> bool | None:
        return None if self.ratio is None else self.ratio.median >= self.floor.factor


def judge(floor: Floor, speeds: Speeds) -> Verdict:
    own = [n for n in speeds if n.startswith("ponder_") and n.endswith(floor.weights)]
    if not own or floor.rival not in speeds:
        return Verdict(floor=floor, ours="", ratio=None)
    ours = max(own, key=lambda name: spread(speeds[name]).median)
    return Verdict(floor=floor, ours=ours, ratio=ratio(speeds, ours, floor.rival))
