"""Strategies with a name, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

from ponder.orchestrator.consistency import adaptive_consistency, early_stopping, universal
from ponder.orchestrator.dsl import best_of, judge, sample, vote
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
    "weighted_best_of_n": Preset(
        expression=sample(16) | judge("likelihood") | vote("judge"),
        description="16 attempts; the answer whose attempts are likeliest in sum.",
    ),
    "adaptive_consistency": Preset(
        expression=adaptive_consistency(40) | vote(),
        description="Attempts one by one, up to 40, until the majority is settled.",
    ),
    "early_stopping": Preset(
        expression=early_stopping(5, most=40) | vote(),
        description="Five attempts at a time, up to 40, until five agree; then the majority.",
    ),
    "universal_self_consistency": Preset(
        expression=sample(8) | universal(),
        description="8 attempts; the one that the model finds most consistent with the others.",
    ),
}
