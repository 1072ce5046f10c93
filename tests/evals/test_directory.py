"""Run directories: nothing recorded is lost, nothing is taken twice, nobody writes beside us."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_solver import SETTINGS, record

from ponder.evals import RunDirectory
from ponder.evals.lines import LineFile
from ponder.evals.records import from_line, to_line
from ponder.runtime import InputError

Open = Callable[..., RunDirectory]
HERE = Path(__file__).parent


@pytest.fixture
def open_run(tmp_path: Path) -> Open:
    """Makes the directory of one run, with some settings changed."""
    return lambda **changes: RunDirectory(tmp_path / "run", {**SETTINGS, **changes})


def lines(path: Path) -> list[bytes]:
    return (path / "records.jsonl").read_bytes().split(b"\n")


def fill(run: RunDirectory, *names: str) -> None:
    for name in names:
        run.append(record(name))


def test_records_come_back(open_run: Open) -> None:
    kept = [
        record("a", answer="\u2028½ \U0001f600 \\frac{1}{2}\n"),
        record("b", answer=None, confidence=None, candidates=(), outcome="failed", reason="long"),
    ]
    with open_run() as run:
        assert run.records == ()
        for one in kept:
            run.append(one)
        assert run.records == tuple(kept)
    with open_run() as run:
        assert run.records == tuple(kept)
    stored = json.loads((run.path / "run.json").read_bytes())
    assert stored == SETTINGS


def test_a_record_is_on_the_disk_before_append_returns(open_run: Open) -> None:
    with open_run() as run:
        fill(run, "a")
        assert from_line(lines(run.path)[0]) == record("a")


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
def test_a_torn_tail_is_cut_away(open_run: Open, keep: int) -> None:
    with open_run() as run:
        fill(run, "a", "b")
    file = run.path / "records.jsonl"
    whole = file.read_bytes()
    tail = to_line(record("c"))[:-1]
    file.write_bytes(whole + (tail if keep < 0 else tail[:keep]))
    with open_run() as run:
        assert [r.id for r in run.records] == ["a", "b"]
        assert file.read_bytes() == whole
        fill(run, "c")
    assert file.read_bytes() == whole + to_line(record("c"))


def test_a_tail_of_zeros_is_cut_away(open_run: Open) -> None:
    with open_run() as run:
        fill(run, "a")
    with (run.path / "records.jsonl").open("ab") as file:
        file.write(b"\0" * 4096)
    with open_run() as run:
        assert [r.id for r in run.records] == ["a"]


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (b"\0\0\0", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"{}", "Field required"),
        (to_line(record("x")).strip().replace(b'"seed"', b'"sed": 1, "seed"'), "nexpected keyword"),
        (to_line(record("x")).strip().replace(b'"complete"', b'"done"'), "'complete'"),
        (to_line(record("x")).strip().replace(b"true", b'"yes"'), "valid boolean at correct"),
    ],
)
def test_damage_in_the_middle_is_an_error(open_run: Open, damage: bytes, wrong: str) -> None:
    with open_run() as run:
        fill(run, "a", "b")
    first, second, _ = lines(run.path)
    content = b"\n".join([first, damage, second, b""])
    (run.path / "records.jsonl").write_bytes(content)
    with (
        pytest.raises(InputError, match=f"records.jsonl, line 2 is damaged: .*{wrong}"),
        open_run(),
    ):
        pass
    assert (run.path / "records.jsonl").read_bytes() == content


def test_duplicates_are_refused(open_run: Open) -> None:
    with open_run() as run:
        fill(run, "a", "b")
        with pytest.raises(InputError, match="'a' is recorded already"):
            fill(run, "a")
        assert len(run.records) == 2
    first, second, _ = lines(run.path)
    (run.path / "records.jsonl").write_bytes(b"\n".join([first, second, first, b""]))
    with pytest.raises(InputError, match=r"line 3: the example 'a' is recorded twice.*line 1"):
        open_run().__enter__()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "math500"),
        ("strategy", "sample: 8\n"),
        ("seed", 1),
        ("model", "other"),
        ("data", "cd" * 32),
        ("budget", {"tokens": 5}),
        ("versions", {"ponder": "0.2.0"}),
    ],
)
def test_other_settings_are_refused(open_run: Open, name: str, value: object) -> None:
    with open_run() as run:
        fill(run, "a")
    with pytest.raises(InputError, match=f"a run with another {name}: .*another --out"):
        open_run(**{name: value}).__enter__()
    with open_run() as again:
        assert len(again.records) == 1


def test_settings_and_records_belong_together(open_run: Open) -> None:
    with open_run() as run:
        pass
    (run.path / "run.json").write_bytes(b'{"task": ')
    with pytest.raises(InputError, match=r"run.json is damaged"):
        open_run().__enter__()
    (run.path / "run.json").write_bytes(b"[]")
    with pytest.raises(InputError, match=r"run.json is damaged: it holds no object"):
        open_run().__enter__()
    (run.path / "run.json").unlink()
    with pytest.raises(InputError, match=r"has records but no run.json"):
        open_run().__enter__()


def test_one_writer_at_a_time(open_run: Open) -> None:
    holder = f"in use by another eval .process {os.getpid()}."
    with open_run(), pytest.raises(InputError, match=holder), open_run():
        pass
    with open_run() as run:
        fill(run, "a")


HOLD = """
import sys
from pathlib import Path
from scripted_solver import SETTINGS
from ponder.evals import RunDirectory
with RunDirectory(Path(sys.argv[1]), SETTINGS):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_holds_it_until_it_dies(open_run: Open, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"process {child.pid}.*another --out"):
            open_run().__enter__()
        child.send_signal(signal.SIGKILL)
        child.wait()
        with open_run() as run:
            assert run.records == ()


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot use .* for a run: .*--out a directory"):
            RunDirectory(path, SETTINGS).__enter__()


def test_a_refused_directory_is_let_go(open_run: Open) -> None:
    with open_run() as run:
        pass
    with pytest.raises(InputError):
        open_run(seed=5).__enter__()
    (run.path / "records.jsonl").write_bytes(b"damaged\n")
    with pytest.raises(InputError):
        open_run().__enter__()
    (run.path / "records.jsonl").write_bytes(b"")
    with open_run() as again:
        assert again.records == ()


FULL = """
import resource, sys
from pathlib import Path
from scripted_solver import SETTINGS, record
from ponder.evals import RunDirectory
from ponder.evals.records import to_line
from ponder.runtime import InputError
with RunDirectory(Path(sys.argv[1]), SETTINGS) as run:
    size = len(to_line(record("r0")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size + 50, resource.RLIM_INFINITY))
    try:
        for i in range(9):
            run.append(record(f"r{i}"))
    except InputError as error:
        print(error)
    print(len(run.records))
"""


def test_a_full_disk_loses_nothing(open_run: Open, tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the fourth record is cut short by it."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    out = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "run")],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )
    said, kept = out.stdout.splitlines()
    assert said.startswith("the record of 'r3' was not saved in ")
    assert "File too large; the 3 before it are safe: make room" in said
    assert kept == "3"
    content = (tmp_path / "run" / "records.jsonl").read_bytes()
    assert content == b"".join(to_line(record(f"r{i}")) for i in range(3))
    with open_run() as run:
        fill(run, "r3")
        assert len(run.records) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_space_left_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines")
    file.append(b"one\n")
    with open("/dev/full", "ab") as full:
        write = os.write
        monkeypatch.setattr(os, "write", lambda _, data: write(full.fileno(), data))
        with pytest.raises(OSError, match="No space left on device"):
            file.append(b"two\n")
    monkeypatch.undo()
    file.append(b"three\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"one\nthree\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True))
def test_traces_have_files_of_their_own(ids: list[str]) -> None:
    run = RunDirectory(Path("run"), SETTINGS)
    long = [name * 90 for name in ids]
    paths = [run.trace(name) for name in {*ids, *long}]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert path.parent == Path("run/traces")
        assert len(path.name.encode()) <= 255


def test_a_trace_can_be_written_for_any_id(open_run: Open) -> None:
    with open_run() as run:
        for name in ("test/algebra/1.json", "..", ".", "-", "a b", "\0", "%2F", "é" * 500, "CON:"):
            run.trace(name).write_text(name)
            assert run.trace(name).parent == run.path / "traces"
