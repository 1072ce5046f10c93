"""Ponder: make a language model think longer where it pays.

The names most programs need. The rest is in the rooms: `ponder.runtime`, `ponder.verifiers`,
`ponder.strategies`, `ponder.orchestrator`, `ponder.evals`. A room is imported when a name of its
own is first asked for, so that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ponder.orchestrator import (
        Budget,
        Result,
        Runtime,
        Status,
        ab_mcts,
        ab_mcts_m,
        adaptive_best_of,
        adaptive_consistency,
        agreement,
        astar,
        beam,
        best,
        best_of,
        best_score,
        certainty,
        confident,
        constrained,
        deepconf,
        dvts,
        early_stopping,
        judge,
        load_strategy,
        mbr,
        mcts,
        mean_score,
        parallel,
        parallel_tempering,
        particle_filter,
        particle_gibbs,
        plan,
        plan_table,
        pruned,
        rebase,
        route,
        sample,
        solve,
        to_yaml,
        universal,
        vote,
        when,
    )
    from ponder.runtime import Engine, PonderError, ScriptedEngine, open_engine
    from ponder.verifiers import (
        Predicate,
        Question,
        Shot,
        json_schema,
        lark,
        predicate,
        regex,
    )

__all__ = [
    "Budget",
    "Engine",
    "PonderError",
    "Predicate",
    "Question",
    "Result",
    "Runtime",
    "ScriptedEngine",
    "Shot",
    "Status",
    "ab_mcts",
    "ab_mcts_m",
    "adaptive_best_of",
    "adaptive_consistency",
    "agreement",
    "astar",
    "beam",
    "best",
    "best_of",
    "best_score",
    "certainty",
    "confident",
    "constrained",
    "deepconf",
    "dvts",
    "early_stopping",
    "json_schema",
    "judge",
    "lark",
    "load_strategy",
    "mbr",
    "mcts",
    "mean_score",
    "open_engine",
    "parallel",
    "parallel_tempering",
    "particle_filter",
    "particle_gibbs",
    "plan",
    "plan_table",
    "predicate",
    "pruned",
    "rebase",
    "regex",
    "route",
    "sample",
    "solve",
    "to_yaml",
    "universal",
    "vote",
    "when",
]

_RUNTIME = frozenset({"Engine", "PonderError", "ScriptedEngine", "open_engine"})
_VERIFIERS = frozenset(
    {"Predicate", "Question", "Shot", "json_schema", "lark", "predicate", "regex"}
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ponder' has no attribute {name!r}")
    room = "runtime" if name in _RUNTIME else "verifiers" if name in _VERIFIERS else "orchestrator"
    value: object = getattr(import_module(f"ponder.{room}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
