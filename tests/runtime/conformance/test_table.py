"""The table in the docs says what the engines say."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_table import MISSING, NOT_RUN, Findings, declared, laws, read, titled, write
from subjects import ENTRIES, Entry, Subject

from ponder.runtime import Capabilities, Engine, ScriptedEngine

TABLE = Path(__file__).parents[3] / "docs" / "engines.md"
ANEW = "run: make engine-table"


def test_every_engine_has_a_column_and_every_law_a_row() -> None:
    columns = read(TABLE)
    assert list(columns) == [entry.name for entry in ENTRIES], ANEW
    for column in columns.values():
        assert set(map(titled, laws())) <= set(column), ANEW
        assert set(column.values()) & {"no"} == set(), "a law is broken"


def test_capabilities_are_those_declared(entry: Entry, subject: Subject, engine: Engine) -> None:
    told, rows = read(TABLE).get(entry.name, {}), declared(subject.declared(engine))
    assert {row: told.get(row) for row in rows} == rows, ANEW


def test_a_run_changes_the_columns_it_tried_and_no_others(tmp_path: Path) -> None:
    target = tmp_path / "engines.md"
    can: Capabilities = ScriptedEngine().capabilities
    first, second = Findings(), Findings()
    for name in ("one", "other"):
        first.declare(name, "1.0", can)
        first.judge(name, "test_a", "yes")
    write(target, first, ["one", "other"])
    second.declare("other", "2.0", can)
    second.judge("other", laws()[0], "no")
    second.judge("other", laws()[0], "yes")
    second.judge("third", laws()[0], NOT_RUN)
    write(target, second, ["third", "other", "one"])
    found = read(target)
    assert (found["one"]["of"], found["other"]["of"]) == ("1.0", "2.0")
    assert found["other"][titled(laws()[0])] == "no"
    assert found["one"][titled(laws()[0])] == NOT_RUN
    assert list(found) == ["third", "other", "one"]
    assert set(found["third"].values()) == {NOT_RUN}
    assert found["one"]["`live_views`"] == MISSING


@pytest.mark.parametrize("name", laws())
def test_laws_are_named_once(name: str) -> None:
    assert laws().count(name) == 1
