"""Engines by role on the command line: read, checked against the strategy, opened once, closed,
recorded and replayed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_server import Manner, serving

from ponder.cli.engines import Asked, asked_engines, engines, opening
from ponder.runtime import Engine, InputError, ScriptedEngine

TWO = """\
pipe:
  - parallel:
      - sample: {n: 2}
      - sample: {n: 3, engine: small}
  - judge: {verifier: likelihood}
  - vote: {}
"""
URL = "http://localhost:1/v1"


def ponder(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "ponder.cli", *words], capture_output=True)


def answered(*words: str) -> Any:  # JSON
    done = ponder(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return str(path)


def test_engines_are_read_by_role_the_policy_first() -> None:
    found = asked_engines("embedded", None, ["prm=some/dir=x@y", f"judge=openai:a/b@c@{URL}"])
    assert list(found) == ["policy", "prm", "judge"]
    assert found["policy"] == Asked(model="embedded", label="embedded")
    assert found["prm"].model == "some/dir=x@y"
    assert (found["judge"].model, found["judge"].base_url) == ("openai:a/b@c", URL)
    assert found["judge"].label == f"openai:a/b@c@{URL}"


def test_a_url_is_every_endpoints_that_says_none() -> None:
    found = asked_engines(
        "openai:a", URL, ["b=openai:b", "c=openai:c@https://other/v1", "d=embedded"]
    )
    assert [one.base_url for one in found.values()] == [URL, URL, "https://other/v1", None]
    elsewhere = asked_engines("scripted", URL, ["b=openai:b"])
    assert [one.base_url for one in elsewhere.values()] == [None, URL]
    useless = asked_engines("scripted", URL, ["b=scripted"])
    assert useless["policy"].base_url == URL, "its opening says that there is no use for it"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["prm"], "is not ROLE=MODEL"),
        (["=embedded"], "is not ROLE=MODEL"),
        (["a b=embedded"], "is not ROLE=MODEL"),
        ([""], "is not ROLE=MODEL"),
        (["prm="], "names no model"),
        (["prm=openai:"], "names no model"),
        ([f"prm=openai:@{URL}"], "names no model"),
        ([f"prm=embedded@{URL}"], "did you mean prm=openai:embedded@"),
        (["policy=embedded"], "give --model instead"),
        (["prm=a", "prm=b"], "given two engines, 'a' and 'b'"),
    ],
)
def test_what_cannot_be_read_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked_engines("scripted", None, given)


def test_equal_engines_are_one_and_all_are_closed() -> None:
    asked = asked_engines("scripted", None, ["a=scripted", "b=other"])
    made: list[ScriptedEngine] = []

    def make(one: Asked) -> Engine:
        made.append(ScriptedEngine())
        return made[-1]

    async def use() -> None:
        async with engines(asked, make) as found:
            assert found["policy"] is found["a"]
            assert found["b"] is not found["a"]

    asyncio.run(use())
    assert len(made) == 2


def test_what_was_open_is_closed_when_the_next_cannot_be_opened() -> None:
    closed: list[str] = []

    class Noted(ScriptedEngine):
        async def close(self) -> None:
            closed.append("first")
            await super().close()

    def make(one: Asked) -> Engine:
        if one.model == "missing":
            raise InputError("there is no such model")
        return Noted()

    async def use() -> None:
        async with engines(asked_engines("scripted", None, ["b=missing"]), make):
            raise AssertionError("opened")

    with pytest.raises(InputError, match="no such model"):
        asyncio.run(use())
    assert closed == ["first"]


def test_what_is_about_endpoints_goes_to_endpoints_only() -> None:
    mixed = asked_engines("scripted", None, [f"b=openai:b@{URL}"])
    made = opening(mixed, allow_fallback=True, probe=True)(mixed["policy"])
    assert made.name == "scripted"
    alone = asked_engines("scripted", None, [])
    with pytest.raises(InputError, match="is at no endpoint"):
        opening(alone, allow_fallback=True)(alone["policy"])


def test_two_roles_answer_together_and_plan(two: str) -> None:
    words = ("-m", "scripted", "--engine", "small=scripted")
    told = answered("solve", "What is 4 plus 5?", "-s", two, "--seed", "1", *words)
    assert len(told["answers"]) == 5
    planned = answered("plan", two, *words)
    assert planned["total"]["calls"] == 5


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("plan", (), "give it an engine (--engine small=MODEL)"),
        ("solve hi -s", (), "give it an engine (--engine small=MODEL)"),
        ("plan", ("-e", "smal=scripted"), "unknown role 'smal'; did you mean 'small'?"),
        ("solve hi -s", ("-e", "smal=scripted"), "unknown role 'smal'"),
        ("eval wordproblems -s", ("-e", "smal=scripted"), "unknown role 'smal'"),
        ("plan", ("-e", "small=scripted", "-e", "prm=scripted"), "unknown role 'prm'"),
        ("eval wordproblems -s", ("-e", "small=no such model"), "names nothing that exists"),
        ("solve hi -s", ("-e", "small"), "is not ROLE=MODEL"),
    ],
)
def test_mistakes_exit_with_two(two: str, command: str, words: tuple[str, ...], said: str) -> None:
    done = ponder(*command.split(), two, "-m", "scripted", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_server_refuses_a_file_whose_roles_it_lacks(two: str) -> None:
    done = ponder("serve", "-m", "scripted", "-s", two, "--port", "0")
    assert done.returncode == 2
    assert b"--engine small=MODEL" in done.stderr


def test_both_engines_are_recorded_and_replayed(
    two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path / "cache"))
    calls = str(tmp_path / "calls.sqlite")
    with serving({"good": Manner()}) as server:
        engine = ("-m", "scripted", "-e", f"small=openai:good@{server.url}")
        words = ("solve", "What is 4 plus 5?", "-s", two, "--seed", "1", *engine)
        told = answered(*words, "--record", calls, "--trace", str(tmp_path / "first"))
    again = answered(*words, "--replay", calls, "--trace", str(tmp_path / "again"))
    assert again["answers"] == told["answers"]
    assert again["tokens"] == told["tokens"]
    roles = answered("trace", str(tmp_path / "again"))["engines"]
    assert list(roles) == ["policy", "small"]
    assert roles == answered("trace", str(tmp_path / "first"))["engines"]


def test_a_resumed_eval_wants_the_same_engines(two: str, tmp_path: Path) -> None:
    words = ("eval", "wordproblems", "--limit", "2", "-m", "scripted", "-s", two)
    kept = ("--out", str(tmp_path / "run"))
    first = answered(*words, "-e", "small=scripted", *kept)
    assert answered(*words, "-e", "small=scripted", *kept) == first
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings["model"] == "{'policy': 'scripted', 'small': 'scripted'}"
