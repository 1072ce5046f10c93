"""Strategies with a name, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.orchestrator.dsl import best_of, sample, vote
from ponder.orchestrator.expression import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    expression: Expression
    description: str


PRESETS = {
    "one_sample": Preset(
        expression=sample(1) | vote(),
        description="One attempt, taken as it is.",
    ),
    "self_consistency": Preset(
        expression=sample(16) | vote(),
        description="16 attempts; the answer most of them give.",
    ),
    "best_of_n": Preset(
        expression=best_of(16, judge="likelihood"),
        description="16 attempts; the answer of the one the model finds likeliest.",
    ),
}
