"""`ponder solve` as a process that is stopped in the middle of a search, gently or not, and goes on
with the search that it left behind.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ponder.orchestrator import ab_mcts, best, read_search, to_yaml

STRATEGY = ab_mcts("process_reward", most_steps=40, parallel=2, step_tokens=20, depth=6) | best()
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent / "orchestrator")!r})
import ponder.runtime
from climbing import climber
ponder.runtime.open_engine = lambda *_, **__: climber(lambda path, tokens: 0.02)
from ponder.cli.program import main
main()
"""
"""The command line, on a slow scripted engine."""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    strategy = tmp_path / "search.yaml"
    strategy.write_text(to_yaml(STRATEGY))
    return ["Which?", "--strategy", str(strategy), "--seed", "5"]


def started(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "solve", *words, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*words: str, trace: Path) -> tuple[Any, list[str]]:
    """What it answers, and the nodes of its tree."""
    with started(*words, "--trace", str(trace)) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    told = json.loads(out)
    nodes = [line for line in trace.read_text().splitlines() if '"event": "node"' in line]
    return {name: told[name] for name in ("answer", "confidence", "status", "seed")}, nodes


def steps(place: Path) -> int:
    """That were kept; whenever it is read, the file is whole."""
    if not place.exists():
        return 0
    nodes = read_search(place).nodes
    return len(nodes["ab_mcts"].progress["state"]["tree"]["nodes"]) if nodes else 0


def stopped(how: signal.Signals, place: Path, *words: str) -> tuple[int, str]:
    """Once a few more steps were kept, if it is not over before; how it ended, and what it said."""
    before = steps(place)
    with started(*words, "--save-search", str(place)) as process:
        while process.poll() is None and steps(place) < before + 5:
            time.sleep(0.005)
        process.send_signal(how)
        _, err = process.communicate()
    return process.returncode, err


def test_a_killed_search_goes_on_from_the_last_it_wrote(words: list[str], tmp_path: Path) -> None:
    place = tmp_path / "search"
    whole = ended(*words, trace=tmp_path / "whole")
    code, _ = stopped(signal.SIGKILL, place, *words)
    assert code == -signal.SIGKILL
    assert 5 <= steps(place) < 41
    (tmp_path / ".search.part").write_text("half a fi")  # as a kill in the middle of writing leaves
    stopped(signal.SIGKILL, place, "--resume", str(place))
    resumed = ended("--resume", str(place), "--save-search", str(place), trace=tmp_path / "again")
    assert resumed == whole
    assert not (tmp_path / ".search.part").exists()
    assert ended("--resume", str(place), trace=tmp_path / "once more") == whole


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_is_asked_to_stop_keeps_everything(
    how: signal.Signals, words: list[str], tmp_path: Path
) -> None:
    place = tmp_path / "search"
    code, said = stopped(how, place, *words)
    assert code == 130
    assert f"`ponder solve --resume {place}` goes on from there" in said
    assert ended("--resume", str(place), trace=tmp_path / "a") == ended(
        *words, trace=tmp_path / "b"
    )


def test_what_cannot_be_resumed_is_told_with_status_2(words: list[str], tmp_path: Path) -> None:
    place = tmp_path / "search"
    ended(*words, "--save-search", str(place), trace=tmp_path / "a")
    for wrong, told in [
        (["--resume", str(place), "--seed", "6"], "with seed 5, not 6"),
        (["Who?", "--resume", str(place)], "Which?"),
        ([], "--resume FILE"),
    ]:
        with started(*wrong) as process:
            _, err = process.communicate()
        assert process.returncode == 2
        assert told in err
