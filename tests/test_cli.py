"""The command line as a user meets it: in a process of its own, through a pipe."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fault_server import Manner, serving

ROOT = Path(__file__).parent.parent
ROWS = [
    {"id": f"q{i}", "question": f"What is {i} plus {i + 1}?", "answer": str(2 * i + 1)}
    for i in range(12)
]


def ponder(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ponder.cli", *words]
    return subprocess.run(command, input=given, capture_output=True, check=False)


def answered(*words: str) -> Any:  # JSON
    done = ponder(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 1
    return json.loads(done.stdout)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_solve_says_the_answer_alone_on_standard_output() -> None:
    done = ponder("solve", "What is 4 plus 5?", "-m", "scripted", "--seed", "1")
    assert done.stdout == b"9\n"
    assert b"seed 1" in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr, "no colours or bars in a pipe"


def test_solve_reads_standard_input() -> None:
    done = ponder("solve", "-", "-m", "scripted", "--seed", "1", given=b"What is 4 plus 5?")
    assert done.stdout == b"9\n"


def test_a_schema_that_cannot_be_used_is_the_users_to_mend(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    for text, words in (
        (None, b"cannot be read as a JSON Schema"),
        ("{", b"cannot be read as a JSON Schema"),
        ("[]", b"holds no JSON Schema"),
        ('{"not": {}}', b"keywords that are not supported"),
        ('{"type": "object"}', b"the json_schema grammar allows none of it"),
    ):
        if text is not None:
            schema.write_text(text)
        done = ponder("solve", "4 + 5?", "-m", "scripted", "--answer-schema", str(schema))
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in done.stderr.replace(b"\n", b" ")


def test_solve_json_repeats_by_its_seed() -> None:
    first = answered("solve", "What is 4 plus 5?", "-m", "scripted")
    again = answered("solve", "What is 4 plus 5?", "-m", "scripted", "--seed", str(first["seed"]))
    assert first == again
    assert {"answer", "confidence", "status", "tokens", "seconds", "seed"} <= set(first)


def test_a_budget_that_ends_early_is_told() -> None:
    told = answered("solve", "4 and 5", "-m", "scripted", "--seed", "1", "--budget-tokens", "150")
    assert told["status"] == "exhausted"
    assert told["tokens"] <= 150


def test_eval_reports_what_it_must(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("eval", "gsm8k", "--data", str(rows), "-m", "scripted", "--out", str(out))
    told = answered(*words)
    wanted = {"task", "strategy", "n", "correct", "accuracy", "interval", "tokens", "seconds"}
    assert wanted | {"status"} <= set(told)
    assert (told["n"], told["status"]) == (12, "complete")
    recorded = (out / "records.jsonl").read_bytes()
    assert answered(*words) == told, "a finished run reports again and asks nothing"
    assert (out / "records.jsonl").read_bytes() == recorded


def test_traces_are_equal_to_the_byte_at_any_concurrency(rows: Path, tmp_path: Path) -> None:
    found: list[dict[str, bytes]] = []
    for number, concurrency in enumerate(("1", "64", "64")):
        out = tmp_path / str(number)
        words = ("eval", "gsm8k", "--data", str(rows), "-m", "scripted", "--out", str(out))
        answered(*words, "--concurrency", concurrency, "--seed", "3")
        found.append({p.name: p.read_bytes() for p in (out / "traces").iterdir()})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 12


def test_an_eval_is_recorded_replayed_and_rescored(rows: Path, tmp_path: Path) -> None:
    words = ("eval", "gsm8k", "--data", str(rows), "-m", "scripted", "--seed", "3")
    calls, first, again = (str(tmp_path / name) for name in ("calls", "first", "again"))
    told = answered(*words, "--record", calls, "--out", first)
    replayed = answered(*words, "--replay", calls, "--out", again, "--concurrency", "1")
    assert replayed["accuracy"] == told["accuracy"]
    for name in (p.name for p in Path(first, "traces").iterdir()):
        assert Path(first, "traces", name).read_bytes() == Path(again, "traces", name).read_bytes()
    rescored = answered("rescore", first, "--strategy", "best_of_n", "--out", str(tmp_path / "b"))
    assert (rescored["n"], rescored["tokens"]) == (12, 0)
    assert rescored["pass_at"] == told["pass_at"]
    assert answered("rescore", first, "--verifier", "likelihood")["correct"] == rescored["correct"]
    for mistake, said in (
        ((*words, "--replay", calls, "--seed", "4"), b"run with seed"),
        ((*words[:-4], "-m", "embedded", "--replay", calls), b"unknown model 'embedded'"),
        (("rescore", first, "--verifier", "self_evaluation"), b"give --replay FILE"),
    ):
        done = ponder(*mistake)
        assert (done.returncode, done.stdout) == (2, b""), done.stderr
        assert said in done.stderr


def test_plan_strategies_and_models_answer_in_json() -> None:
    assert answered("plan", "best_of_n")["total"]["calls"] == 16
    assert {"presets", "operations", "verifiers"} <= set(answered("strategies"))
    assert "SmolLM2-135M-Instruct" in [model["name"] for model in answered("models")]


def test_strategies_tells_one_operation() -> None:
    told = answered("strategies", "astar")
    assert told["source"].endswith("arXiv 2505.13672")
    assert "complete paths" in next(
        p["meaning"].lower() for p in told["parameters"] if p["name"] == "goals"
    )
    lines = ponder("strategies", "astar").stdout.decode().splitlines()
    assert any(line.startswith("goals ") and line.endswith("to find.") for line in lines)


def test_a_trace_is_told_and_drawn(tmp_path: Path) -> None:
    search = tmp_path / "search.yaml"
    search.write_text(
        "pipe:\n- beam: {verifier: self_evaluation, width: 4, expand: 2, step_tokens: 8, "
        "max_tokens: 64, depth: 4}\n- best: {}\n"
    )
    file, page = str(tmp_path / "trace.jsonl"), tmp_path / "page.html"
    words = ("-m", "scripted", "--seed", "1", "--trace", file)
    solved = answered("solve", "What is 4 plus 5?", "-s", str(search), *words)
    told = answered("trace", file)
    assert (told["answer"], told["calls"]) == (solved["answer"], solved["calls"])
    assert told["searches"]["beam"]["grown"]["steps"] >= 4
    assert b"search beam, steered by self_evaluation" in ponder("trace", file).stdout
    assert ponder("trace", file, "--dot").stdout.startswith(b"digraph")
    drawn = ponder("trace", file, "--html", str(page))
    assert (drawn.returncode, drawn.stdout) == (0, b"")
    assert page.read_text().startswith("<!doctype html>")
    for mistake, said in (
        (("--json", "--dot"), b"give one of"),
        (("--html", str(tmp_path / "no" / "page")), b"its folder does not exist"),
    ):
        done = ponder("trace", file, *mistake)
        assert (done.returncode, done.stdout) == (2, b"")
        assert said in done.stderr


def test_doctor_tells_what_runs_models() -> None:
    found = answered("doctor")
    without = "native" if found["instruction_sets"] else "torch"
    assert found["kernels"] == (without if found["gpu"].startswith("none: ") else "triton")
    assert "float32" in found["weight_formats"]
    assert found["threads"] >= 1
    assert bool(found["why_not_native"]) == (found["kernels"] == "torch")
    assert found["torch"].startswith("2.")
    assert {"triton", "compiler", "python"} <= found.keys()
    lines = ponder("doctor").stdout.decode().splitlines()
    assert [line[:18].strip().replace(" ", "_") for line in lines] == list(found)
    assert all(len(line) > 18 for line in lines)


def test_plan_draws_a_picture() -> None:
    assert ponder("plan", "self_consistency", "--picture").stdout.startswith(b"flowchart")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("solve", ""), "the question is empty"),
        (("solve", "hi", "-s", "self_consitency"), "did you mean 'self_consistency'"),
        (("solve", "hi", "--budget-tokens", "0"), "tokens is 0"),
        (("solve", "hi", "--concurrency", "0"), "concurrency is 0"),
        (("solve", "hi", "--weights", "int9"), "did you mean 'int8'"),
        (("solve", "hi", "--weights", "int8"), "the scripted engine has none"),
        (("eval", "gsm9k"), "did you mean 'gsm8k'"),
        (("solve", "hi", "--replay", "nothere"), "there is no recording 'nothere'"),
        (("solve", "hi", "--replay", "a", "--record", "b"), "nothing new to record"),
        (("solve", "hi", "--record", "nothere/a"), "its folder does not exist"),
        (("rescore", "nothere", "--verifier", "likelihood"), "holds no run"),
        (("rescore", "nothere"), "give either --strategy or --verifier"),
        (("eval", "wordproblems", "--difficulty", "9"), "difficulty is 9"),
        (("eval", "gsm8k", "--data", "nothere.jsonl"), "nothere.jsonl"),
        (("plan", "nothing.yaml"), "nothing.yaml"),
        (("strategies", "a_star"), "did you mean 'astar'"),
        (("trace", "nothing.jsonl"), "cannot be read"),
        (("trace", __file__), "is damaged in line 1"),
        (("plan", "best_of_n", "--model", "no such model"), "names nothing that exists"),
    ],
)
def test_the_users_mistakes_exit_with_two(words: tuple[str, ...], said: str) -> None:
    without = "--model" in words or words[0] in ("plan", "strategies", "trace")
    model = () if without else ("-m", "scripted")
    done = ponder(*words, *model)
    assert done.returncode == 2
    assert done.stdout == b""
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_question_longer_than_the_context() -> None:
    done = ponder("solve", "-", "-m", "scripted", given=b"a" * 1_200_000)
    assert done.returncode == 2
    assert b"1000000" in done.stderr


def test_junk_on_standard_input() -> None:
    done = ponder("solve", "-", "-m", "scripted", given=b"\xff\xfe\x00")
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr


def test_interrupting_keeps_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["eval", "wordproblems", "--limit", "3000", "-m", "scripted", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "ponder.cli", *words], stderr=subprocess.PIPE
    ) as process:
        records = out / "records.jsonl"
        while not (records.exists() and records.read_bytes().count(b"\n") >= 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on" in said
    assert b"Traceback" not in said
    ids = [json.loads(line)["id"] for line in records.read_text().splitlines()]
    assert len(ids) == len(set(ids)) < 3000


def test_a_terminal_gets_a_progress_bar() -> None:
    main, side = pty.openpty()
    words = ["eval", "wordproblems", "--limit", "5", "-m", "scripted"]
    command = [sys.executable, "-m", "ponder.cli", *words]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, env=env) as process:
        os.close(side)
        shown = b""
        try:
            while piece := os.read(main, 4096):
                shown += piece
        except OSError:
            pass  # how a pseudo-terminal says that the other side is closed
    assert process.returncode == 0
    assert b"5/5" in shown


def test_help_imports_no_room() -> None:
    code = "import sys; from ponder.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    code += "print(*(m for m in sys.modules if m.startswith('ponder.') or m == 'rich'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name.startswith("ponder.cli") for name in done.stdout.splitlines()[-1].split())


def test_a_model_at_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    monkeypatch.setenv("PONDER_API_KEY", "sk-secret")
    with serving({"good": Manner(), "plain": Manner(logprobs=False)}, key="sk-secret") as server:
        there = ("--base-url", server.url)
        done = ponder("solve", "What is 4 plus 5?", "-m", "openai:good", *there, "--seed", "1")
        assert (done.returncode, done.stdout) == (0, b"9\n"), done.stderr
        lacking = ponder("plan", "best_of_n", "-m", "openai:plain", *there)
        assert lacking.returncode == 2
        assert b"needs logprobs" in lacking.stderr
        absent = ponder("solve", "x", "-m", "openai:goood", *there)
        assert absent.returncode == 2
        assert b"did you mean 'good'" in absent.stderr
        monkeypatch.setenv("PONDER_API_KEY", "sk-wrong")
        refused = ponder("solve", "x", "-m", "openai:good", *there)
        assert refused.returncode == 2
        for told in (done, lacking, absent, refused):
            assert b"sk-" not in told.stdout + told.stderr
    down = ponder("solve", "x", "-m", "openai:good", *there)
    assert down.returncode == 1
    assert b"is it up" in down.stderr


def test_what_a_server_cannot_start_with(tmp_path: Path) -> None:
    empty = tmp_path / "keys"
    empty.write_text("\n")
    for words, told in (
        (("--port", "99999"), b"0 (any free one) to 65535"),
        (("--host", "no.such.host.invalid"), b"cannot listen"),
        (("-s", "nofile.yaml"), b"cannot be read"),
        (("--key-file", str(empty)), b"holds no key"),
        (("--most-requests", "0"), b"at least 1"),
    ):
        done = ponder("serve", "-m", "scripted", *words)
        assert done.returncode == 2
        assert told in done.stderr, done.stderr
        assert b"Traceback" not in done.stderr


def potential_file(path: Path, text: str) -> Path:
    file = path / "mine.py"
    file.write_text(text)
    return file


NAMED = "pipe: [constrained: {max_tokens: 40, fits: [{predicate: even}]}, vote: {}]"
EVEN = "def even(text):\n    return text.rstrip('}.')[-1:] in tuple('02468')\n"


def test_a_potential_is_read_from_a_file(tmp_path: Path) -> None:
    strategy = tmp_path / "even.yaml"
    strategy.write_text(NAMED)
    file = potential_file(tmp_path, EVEN)
    named = ("--potential", f"even={file}:even", "--seed", "1")
    done = ponder("solve", "What is 4 plus 5?", "-m", "scripted", "-s", str(strategy), *named)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"20\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "unknown potential 'even'"),
        ("even", "write it as NAME=FILE.py:OBJECT"),
        ("even=nowhere.py:even", "is no Python file"),
        ("even={file}:odd", "'odd' is None there"),
        ("even={broken}:even", "raised ZeroDivisionError"),
    ],
)
def test_a_potential_that_cannot_be_read_is_refused(
    given: str | None, words: str, tmp_path: Path
) -> None:
    strategy = tmp_path / "even.yaml"
    strategy.write_text(NAMED)
    file = potential_file(tmp_path, EVEN)
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    more = [] if given is None else ["--potential", given.format(file=file, broken=broken)]
    done = ponder("solve", "What?", "-m", "scripted", "-s", str(strategy), *more)
    assert done.returncode == 2
    assert words in done.stderr.decode()
