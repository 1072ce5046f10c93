"""The catalogue: every method and verifier says whose it is, every setting what it means, and the
table fits its terminal.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest

from ponder.orchestrator import METRICS, catalogue_data, catalogue_table, operation_table
from ponder.orchestrator.meanings import meanings
from ponder.orchestrator.operations import LEADING, METHODS
from ponder.runtime import InputError
from ponder.strategies import Sample, Stored
from ponder.verifiers import STEP_VERIFIERS, VERIFIERS

KINDS = {
    f"{k.name} ({type(k).__name__})": k for d in (VERIFIERS, STEP_VERIFIERS) for k in d.values()
}


@pytest.mark.parametrize("method", [*METHODS.values(), Stored], ids=lambda m: m.__name__)
def test_every_method_names_its_source_in_one_line(method: type[Any]) -> None:
    source = method.source
    assert isinstance(source, str)
    assert source.strip()
    assert source == " ".join(source.split()).rstrip(".")
    assert "source" not in {f.name for f in fields(method)}, "a ClassVar, not a setting"


@pytest.mark.parametrize("name", KINDS)
def test_every_verifier_names_its_source(name: str) -> None:
    source = KINDS[name].source
    assert source.strip()
    assert source == " ".join(source.split()).rstrip(".")


@pytest.mark.parametrize("name", METHODS)
def test_an_operation_is_told_whole(name: str) -> None:
    method, told = METHODS[name], catalogue_data()["operations"][name]
    assert told["source"] == method.source
    assert (told["takes"], told["gives"]) == ([method.takes.value], [method.gives.value])
    parameters = {p["name"]: p for p in told["parameters"]}
    assert list(parameters) == [f.name for f in fields(method)]
    for p in parameters.values():
        assert {"name", "kind", "required", "default", "meaning"} == set(p)
        assert p["kind"]
    if name in LEADING:
        assert parameters[LEADING[name]]["meaning"]


def test_needs_are_the_methods_own_whatever_verifier_is_named() -> None:
    told = catalogue_data()
    assert told["operations"]["sample"]["needs"] == {"policy": []}
    assert told["operations"]["astar"]["needs"] == {"policy": ["prefix_continuation"]}
    assert told["operations"]["judge"]["needs"] == {"policy": []}
    assert told["verifiers"]["likelihood"]["needs"] == ["logprobs"]
    assert told["step_verifiers"]["process_reward"]["needs"] == ["heads"]
    assert told["verifiers"]["judge_pairwise"]["together"]
    assert told["metrics"] == METRICS


def test_the_catalogue_is_json() -> None:
    json.dumps(catalogue_data(), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    width: int = 2
    """What the class above says."""
    depth: int = 3
    """Stays,
    on two lines.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Below(Above):
    source: ClassVar[str] = "nobody"
    width: int = 4
    """What the class itself says."""
    height: int = 5
    plain = "no annotation"
    """Of no field."""


def test_meanings_are_read_from_the_source_nearest_first() -> None:
    assert meanings(Below) == {
        "width": "What the class itself says.",
        "depth": "Stays, on two lines.",
    }
    assert meanings(Sample)["n"] == "Attempts, at least 1."


def test_classes_without_a_source_have_no_meanings(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(thing: object) -> str:
        raise OSError("could not get source code")

    nowhere = type("Nowhere", (), {"__module__": "no.such.module"})
    assert meanings(nowhere) == {}
    monkeypatch.setattr(inspect, "getsource", lost)
    assert meanings(type("Built", (), {"__module__": "json"})) == {}


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_tables_fit_their_width(width: int) -> None:
    tables = [catalogue_table(width), *(operation_table(name, width) for name in METHODS)]
    for line in "\n".join(tables).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


def test_a_narrow_terminal_loses_no_word() -> None:
    assert catalogue_table(20).split() == catalogue_table(400).split()


def test_an_operation_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'astar'"):
        operation_table("a_star")
