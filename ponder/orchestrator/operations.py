"""The operations a strategy is written with, by name: what each takes, gives and can be told.

The one table that ties names in Python and YAML to the dataclasses of `ponder.strategies`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

from ponder.runtime import InputError
from ponder.strategies import (
    AbMcts,
    AbMctsM,
    AdaptiveConsistency,
    AStar,
    Beam,
    Best,
    Dvts,
    EarlyStopping,
    Judge,
    Mcts,
    MinimumBayesRisk,
    Port,
    Rebase,
    Sample,
    Strategy,
    Universal,
    Vote,
)

METHODS: dict[str, type[Any]] = {
    "sample": Sample,
    "adaptive_consistency": AdaptiveConsistency,
    "early_stopping": EarlyStopping,
    "beam": Beam,
    "dvts": Dvts,
    "rebase": Rebase,
    "astar": AStar,
    "mcts": Mcts,
    "ab_mcts": AbMcts,
    "ab_mcts_m": AbMctsM,
    "judge": Judge,
    "vote": Vote,
    "universal": Universal,
    "mbr": MinimumBayesRisk,
    "best": Best,
}
# The setting that is given by place in Python.
LEADING = {
    "sample": "n",
    "adaptive_consistency": "most",
    "early_stopping": "window",
    "beam": "verifier",
    "dvts": "verifier",
    "rebase": "verifier",
    "astar": "verifier",
    "mcts": "verifier",
    "ab_mcts": "verifier",
    "ab_mcts_m": "verifier",
    "judge": "verifier",
    "mbr": "utility",
}

_NAMES = {method: name for name, method in METHODS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    kind: str
    """Its type, as written in Python."""
    required: bool
    default: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of `ponder strategies`."""

    name: str
    takes: tuple[Port, ...]
    gives: tuple[Port, ...]
    description: str
    parameters: tuple[Parameter, ...]


def operation_name(strategy: Strategy) -> str:
    """The name in the table; for a method of the user's own, its class name in lower case."""
    return _NAMES.get(type(strategy), type(strategy).__name__.lower())


def changed_settings(strategy: Strategy) -> dict[str, object]:
    """Settings of a method in the table that differ from their defaults, or have none.

    Raises:
        InputError: the method is not in the table, so it cannot be written by name.
    """
    if type(strategy) not in _NAMES:
        raise InputError(
            f"{type(strategy).__name__} is not an operation with a name; only "
            f"{', '.join(METHODS)} can be written to a file"
        )
    values = {f.name: (getattr(strategy, f.name), f.default) for f in fields(strategy)}  # type: ignore[arg-type]  # every method in the table is a dataclass
    return {name: value for name, (value, default) in values.items() if value != default}


def operations() -> tuple[Operation, ...]:
    """Every operation, methods first."""
    candidates, anything = (Port.CANDIDATES,), (Port.CANDIDATES, Port.ANSWER)
    return (
        *(_described(name, method) for name, method in METHODS.items()),
        Operation(
            name="parallel",
            takes=(Port.QUESTION, Port.CANDIDATES),
            gives=candidates,
            description="Run strategies side by side and join their candidates.",
            parameters=(_structural("parts", "list of strategies"),),
        ),
        Operation(
            name="when",
            takes=candidates,
            gives=anything,
            description="Go one way or the other, by a metric of the candidates so far.",
            parameters=(
                _structural("condition", "METRIC < <= > >= NUMBER"),
                _structural("then", "strategy"),
                _structural("otherwise", "strategy"),
            ),
        ),
    )


def _structural(name: str, kind: str) -> Parameter:
    return Parameter(name=name, kind=kind, required=True)


def _described(name: str, method: type[Any]) -> Operation:
    return Operation(
        name=name,
        takes=(method.takes,),
        gives=(method.gives,),
        description=_first_sentence(method.__doc__ or ""),
        parameters=tuple(
            Parameter(
                name=f.name,
                kind=str(f.type),
                required=f.default is MISSING,
                default=None if f.default is MISSING else f.default,
            )
            for f in fields(method)
        ),
    )


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".") + "."
