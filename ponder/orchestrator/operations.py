"""The operations a strategy is written with, by name: what each takes, gives and can be told.

The one table that ties names in Python and YAML to the dataclasses of `ponder.strategies`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import reduce
from typing import Any

from ponder.orchestrator.meanings import meanings
from ponder.runtime import InputError
from ponder.strategies import (
    AbMcts,
    AbMctsM,
    AdaptiveBestOf,
    AdaptiveConsistency,
    AStar,
    Beam,
    Best,
    Confident,
    Constrained,
    DeepConf,
    Dvts,
    EarlyStopping,
    Judge,
    Mcts,
    MinimumBayesRisk,
    ParallelTempering,
    ParticleFilter,
    ParticleGibbs,
    Port,
    Pruned,
    Rebase,
    Sample,
    Strategy,
    Universal,
    Vote,
)
from ponder.verifiers import STEP_VERIFIERS, VERIFIERS

METHODS: dict[str, type[Any]] = {
    "sample": Sample,
    "deepconf": DeepConf,
    "adaptive_best_of": AdaptiveBestOf,
    "pruned": Pruned,
    "adaptive_consistency": AdaptiveConsistency,
    "early_stopping": EarlyStopping,
    "beam": Beam,
    "dvts": Dvts,
    "rebase": Rebase,
    "astar": AStar,
    "mcts": Mcts,
    "ab_mcts": AbMcts,
    "ab_mcts_m": AbMctsM,
    "particle_filter": ParticleFilter,
    "particle_gibbs": ParticleGibbs,
    "parallel_tempering": ParallelTempering,
    "constrained": Constrained,
    "judge": Judge,
    "confident": Confident,
    "vote": Vote,
    "universal": Universal,
    "mbr": MinimumBayesRisk,
    "best": Best,
}
# The setting that is given by place in Python.
LEADING = {
    "sample": "n",
    "deepconf": "warmup",
    "adaptive_best_of": "most",
    "pruned": "n",
    "adaptive_consistency": "most",
    "early_stopping": "window",
    "beam": "verifier",
    "dvts": "verifier",
    "rebase": "verifier",
    "astar": "verifier",
    "mcts": "verifier",
    "ab_mcts": "verifier",
    "ab_mcts_m": "verifier",
    "particle_filter": "verifier",
    "particle_gibbs": "verifier",
    "parallel_tempering": "verifier",
    "constrained": "fits",
    "judge": "verifier",
    "confident": "keep",
    "mbr": "utility",
}

_OWN = "Ponder"
_NAMES = {method: name for name, method in METHODS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    kind: str
    """Its type, as written in Python."""
    required: bool
    default: object = None
    meaning: str = ""
    """Empty where its name says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of `ponder strategies`."""

    name: str
    takes: tuple[Port, ...]
    gives: tuple[Port, ...]
    description: str
    parameters: tuple[Parameter, ...]
    source: str
    """Authors and year, and where it was published."""
    needs: Mapping[str, frozenset[str]]
    """Capabilities by engine role, with the settings' defaults, whatever verifier is named: its own
    needs come to these.
    """


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
            parameters=(_structural("parts", "list of strategies", "What runs."),),
            source=_OWN,
            needs={},
        ),
        Operation(
            name="when",
            takes=candidates,
            gives=anything,
            description="Go one way or the other, by a metric of the candidates so far.",
            parameters=(
                _structural("condition", "METRIC < <= > >= NUMBER", "A number in [0, 1]."),
                _structural("then", "strategy", "Where the condition holds."),
                _structural("otherwise", "strategy", "Where it does not."),
            ),
            source=_OWN,
            needs={},
        ),
        Operation(
            name="route",
            takes=candidates,
            gives=anything,
            description="Choose one of several ways by the bin that a metric falls into.",
            parameters=(
                _structural("by", "METRIC", "Of what the bins are."),
                _structural("bins", "list of rising numbers in [0, 1]", "Borders of the bins."),
                _structural("arms", "list of strategies", "One a bin: one more than borders."),
            ),
            source="Snell et al. 2024, arXiv 2408.03314",
            needs={},
        ),
    )


def _structural(name: str, kind: str, meaning: str) -> Parameter:
    return Parameter(name=name, kind=kind, required=True, meaning=meaning)


def _described(name: str, method: type[Any]) -> Operation:
    told = meanings(method)
    return Operation(
        name=name,
        takes=(method.takes,),
        gives=(method.gives,),
        description=_first_sentence(method.__doc__ or ""),
        source=method.source,
        needs=_needs(method),
        parameters=tuple(
            Parameter(
                name=f.name,
                kind=str(f.type),
                required=f.default is MISSING,
                default=None if f.default is MISSING else f.default,
                meaning=told.get(f.name, ""),
            )
            for f in fields(method)
        ),
    )


def _needs(method: type[Any]) -> dict[str, frozenset[str]]:
    """What every choice of verifier needs, which leaves the method's own."""
    asked: list[dict[str, frozenset[str]]] = [m.needs() for m in _instances(method)]
    return reduce(_shared, asked) if asked else {}


def _instances(method: type[Any]) -> Iterator[Any]:  # of a method in the table
    """One for each way to fill in what has no default."""
    required = [f.name for f in fields(method) if f.default is MISSING]
    for verifier in {**VERIFIERS, **STEP_VERIFIERS} if required else ("",):
        try:
            yield method(**dict.fromkeys(required, verifier))
        except InputError:
            continue  # that verifier is of the other kind


def _shared(
    one: dict[str, frozenset[str]], other: dict[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    return {role: one[role] & other[role] for role in one if role in other}


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".") + "."
