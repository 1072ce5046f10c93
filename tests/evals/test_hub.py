"""The hub through the real `datasets` library: a local set, and no network at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ponder.evals import TASKS, Hub, Task
from ponder.evals.hub import load_from_hub
from ponder.runtime import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Task, Hub]:
    """GSM8K's declaration, pointed at a directory in the shape of a hub repository."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [
        {"question": "1 + 1?", "answer": "It is 2.\n#### 2"},
        {"question": "1000 + 1?", "answer": "#### 1,001"},
    ]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    task = TASKS["gsm8k"]
    assert task.hub
    return task, replace(task.hub, dataset=str(tmp_path / "set"), config=None)


def test_a_local_set(local: tuple[Task, Hub]) -> None:
    examples = load_from_hub(*local)
    assert [(e.id, e.question, e.answer) for e in examples] == [
        ("gsm8k-0", "1 + 1?", "2"),
        ("gsm8k-1", "1000 + 1?", "1001"),
    ]
    assert examples[0].solution == "It is 2.\n#### 2"


def test_changed_columns(local: tuple[Task, Hub]) -> None:
    task, hub = local
    with pytest.raises(InputError, match=r"row 0: no 'problem'; it has question, answer; .*--data"):
        load_from_hub(task, replace(hub, question="problem"))


def test_a_split_that_is_not_there(local: tuple[Task, Hub]) -> None:
    task, hub = local
    with pytest.raises(InputError, match=r"cannot load .*validation.*--data PATH"):
        load_from_hub(task, replace(hub, split="validation"))


CODE = """
import sys
if {hide}:
    sys.modules["datasets"] = None
from ponder.evals import find_task, load_examples
from ponder.runtime import InputError
try:
    load_examples(find_task("gsm8k"), seed=0)
except InputError as error:
    print(error)
"""


def attempt(tmp_path: Path, *, hide: bool) -> str:
    switches = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        [sys.executable, "-c", CODE.format(hide=hide)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **switches},
        cwd=tmp_path,
    )
    return out.stdout


def test_offline_with_a_cold_cache(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    said = attempt(tmp_path, hide=False)
    assert said.startswith("cannot load 'openai/gsm8k' (test) from the hub: ")
    assert "check the network, or give the set as a file with --data PATH" in said


def test_without_the_library(tmp_path: Path) -> None:
    said = attempt(tmp_path, hide=True)
    assert "needs the package `datasets`: pip install 'ponder[evals]'" in said
    assert "--data PATH" in said


def test_declarations_are_whole() -> None:
    assert set(TASKS) == {"gsm8k", "math500", "aime24", "multiarith", "wordproblems"}
    for name, task in TASKS.items():
        assert task.name == name
        assert task.licence
        assert (task.hub is None) == (name == "wordproblems")
