"""Every example runs, and what the README shows is what the files say and print."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ponder.orchestrator import PRESETS, catalogue_data, check, load_strategy

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
README = (ROOT / "README.md").read_text()


def run(script: str, *options: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_quickstart_prints_what_the_readme_says() -> None:
    printed = re.search(r"prints `(.*?)`", README)
    assert printed
    assert run("quickstart.py").strip() == printed[1]


def test_the_readme_shows_quickstart() -> None:
    block = re.search(r"<!-- examples/quickstart.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert block
    code = (EXAMPLES / "quickstart.py").read_text().split('"""', 2)[2]
    assert block[1].strip() == code.strip()


def test_the_main_job_on_the_toy() -> None:
    printed = run("three_strategies.py", "--model", "scripted", "--problems", "3")
    for strategy in ("one sample", "self-consistency of 16", "best of 16 by likelihood"):
        row = next(line for line in printed.splitlines() if strategy in line)
        assert re.search(r"\d of 3 .* \d+% .* \d+% to \d+% .* [\d,]+ .* [\d.]+ ", row), row


def test_a_structured_answer_has_its_form() -> None:
    lines = run("structured_answer.py").splitlines()
    assert re.fullmatch(r"city='.*' country='.*' capital=(True|False)", lines[0])
    assert all(set(json.loads(line)) == {"city", "country", "capital"} for line in lines[1:])


def test_queries_can_be_run() -> None:
    answer, *attempts = run("text_to_sql.py").splitlines()
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE singer (name TEXT, country TEXT, age INTEGER)")
        for query in (answer, *(line.split(" ", 1)[1] for line in attempts)):
            database.execute(query)


def test_sums_are_right() -> None:
    left, right = run("custom_predicate.py").split(" = ")
    assert sum(map(int, left.split(" + "))) == int(right)


def test_rewards_from_an_endpoint_choose_what_is_right() -> None:
    lines = run("reward_models.py").splitlines()
    assert lines == ["outcome 42 0.9 complete", "process 42 0.9 complete"]


def test_everything_that_is_listed_is_in_an_example() -> None:
    """Operations, and judges but for those that differ from one by prompt or head alone."""
    texts = [path.read_text() for path in EXAMPLES.glob("*.py")]
    texts += [repr(load_strategy(str(path))) for path in EXAMPLES.glob("*.yaml")]
    called = {name for text in texts for name in re.findall(r"\b(\w+)\(", text)}
    named = {name for text in texts for name in re.findall(r"['\"](\w+)['\"]", text)}
    listed = catalogue_data()
    judges = {*listed["verifiers"], *listed["step_verifiers"]}
    alike = {"bradley_terry_reward", "judge_rationales", "qwen_process_reward", "math_shepherd"}
    inside = {"restart", "indifferent"}  # of adaptive_best_of and pruned, and of constrained
    assert called >= set(listed["operations"]) - {"route"}  # it is read as a chain of `when`
    assert "route:" in (EXAMPLES / "route.yaml").read_text()
    assert named >= judges - alike - inside


def test_everything_that_is_listed_is_explained() -> None:
    for name, operation in catalogue_data()["operations"].items():
        assert operation["description"], name
        assert operation["source"], name
        assert operation["gives"], name
        told = [parameter["name"] for parameter in operation["parameters"] if parameter["meaning"]]
        assert told == [parameter["name"] for parameter in operation["parameters"]], name


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_strategies_in_files_can_run(path: Path) -> None:
    check(load_strategy(str(path)))


def test_presets_can_run() -> None:
    for preset in PRESETS.values():
        check(preset.expression)


def test_every_example_is_here() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {
        "custom_predicate.py",
        "quickstart.py",
        "reward_models.py",
        "structured_answer.py",
        "text_to_sql.py",
        "three_strategies.py",
    }
