"""Files of recordings: written by many at once, killed, full, torn, altered, or no recordings."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import drawn, ran, recorded, replayed, scripted, three

from ponder.runtime import (
    BranchPath,
    Engine,
    InputError,
    PonderError,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    ScriptedEngine,
)
from ponder.runtime.replay.store import APPLICATION


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


def test_the_first_result_of_a_call_stays(file: Path) -> None:
    first = recorded(file, drawn, ScriptedEngine(lambda _: {"a": 1.0}))
    again = RecordingEngine(ScriptedEngine(lambda _: {"a": 1.0}), file)
    ran(again, drawn)
    assert again.differing == 0
    other = RecordingEngine(ScriptedEngine(lambda _: {"b": 1.0}), file)
    assert ran(other, drawn).text == "b"
    assert other.differing == 1
    assert replayed(file, drawn) == first


WRITE = """
import asyncio, sys
from pathlib import Path
from ponder.runtime import BranchPath, RecordingEngine, Sampling, ScriptedEngine

async def main(file, who):
    engine = RecordingEngine(ScriptedEngine(lambda p: {p * 3: 1.0, p: 1.0}), Path(file))
    async def one(i):
        # Even ones are everybody's, odd ones one's own.
        path = BranchPath(i, ("all" if i % 2 == 0 else who,))
        async with await engine.open(f"p{i}", path=path) as branch:
            await asyncio.gather(*(b.extend(Sampling(max_tokens=9)) for b in branch.fork(4)))
    await asyncio.gather(*map(one, range(40)))
    await engine.close()
    print(engine.differing)

asyncio.run(main(*sys.argv[1:]))
"""


def test_many_processes_write_one_file(file: Path) -> None:
    """From the moment it is made, by whoever comes first."""
    command = [sys.executable, "-c", WRITE, str(file)]
    writers = [
        subprocess.Popen([*command, f"w{i}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for i in range(3)
    ]
    for writer in writers:
        told, wrong = writer.communicate(timeout=60)
        assert (writer.returncode, told) == (0, b"0\n"), wrong
    assert not list(file.parent.glob("calls.sqlite-*")), "one file is left"
    with sqlite3.connect(file) as rows:
        ((calls,),) = rows.execute("SELECT count(*) FROM calls WHERE kind != 'count'")
        assert calls == 5 * (20 + 3 * 20)
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows.close()

    async def read(engine: Engine) -> None:
        for i in range(40):
            for who in ["all"] if i % 2 == 0 else ["w0", "w1", "w2"]:
                branch = await engine.open(f"p{i}", path=BranchPath(i, (who,)))
                for fork in branch.fork(4):
                    assert (await fork.extend(Sampling(max_tokens=9))).text[:1] == "p"

    replayed(file, read)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from ponder.runtime import BranchPath, RecordingEngine, Sampling, ScriptedEngine

async def main(file):
    engine = RecordingEngine(ScriptedEngine(lambda p: {"xyz": 1.0}), Path(file))
    branch = await engine.open("prompt", path=BranchPath(7, ("replay",)))
    await branch.extend(Sampling(max_tokens=6))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_call_that_returned_is_in_the_file_even_if_its_writer_is_killed(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert done.returncode == -9
    assert replayed(file, drawn).text == "xyz"


FULL = """
import asyncio, resource, sys
from pathlib import Path
from ponder.runtime import BranchPath, RecordingEngine, Sampling, ScriptedEngine

async def main(file):
    engine = RecordingEngine(ScriptedEngine(lambda p: {"x" * 400: 1.0}), Path(file))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for i in range(100):
            branch = await engine.open("prompt", path=BranchPath(7, (i,)))
            await branch.extend(Sampling(max_tokens=400))
            print(i, flush=True)
    finally:
        await engine.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_full_disk_ends_the_run_and_keeps_what_is_there(file: Path) -> None:
    command = [sys.executable, "-c", FULL, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "calls could not be recorded in" in done.stderr.splitlines()[-1]
    kept = len(done.stdout.split())
    assert 0 < kept < 100

    async def read(engine: Engine) -> None:
        for i in range(kept):
            branch = await engine.open("prompt", path=BranchPath(7, (i,)))
            await branch.extend(Sampling(max_tokens=400))

    replayed(file, read)


def changed(file: Path, statement: str, *values: object) -> None:
    rows = sqlite3.connect(file)
    assert rows.execute(statement, values).rowcount == 1
    rows.commit()
    rows.close()


@pytest.mark.parametrize("column", ["value", "usage", "checksum"])
def test_an_altered_record_is_refused_and_not_replaced(column: str, file: Path) -> None:
    recorded(file, drawn)
    where = f"UPDATE calls SET {column} = ? WHERE kind = 'extend'"
    changed(file, where, b'{"text": "forged"}')
    told = r"damaged: the record of extend on branch 7 \[\"replay\"\].*record the run again"
    with pytest.raises(PonderError, match=told) as caught:
        replayed(file, drawn)
    assert not isinstance(caught.value, InputError), "it ends an eval"
    with pytest.raises(PonderError, match="damaged: the record of extend"):
        recorded(file, drawn)
    with pytest.raises(PonderError, match="damaged"):
        replayed(file, drawn)


def test_an_altered_engine_is_refused(file: Path) -> None:
    recorded(file, drawn)
    changed(file, "UPDATE engines SET about = ?", b"{}")
    with pytest.raises(PonderError, match="what it says of engine 'scripted'"):
        ReplayEngine(file)


def test_a_torn_file_is_refused(file: Path) -> None:
    """Cut, or with pages of something else in it."""
    recorded(file, three)
    whole, first = file.read_bytes(), replayed(file, drawn)
    refused: list[str] = []
    for size in range(0, len(whole), 4096):
        torn = file.with_name(f"torn{size}")
        torn.write_bytes(whole[:size] + b"\xa5" * 4096 + whole[size + 4096 :])
        cut = file.with_name(f"cut{size}")
        cut.write_bytes(whole[:size])
        for name in (torn, cut):
            try:
                assert replayed(name, drawn) == first
            except PonderError as error:
                refused.append(str(error))
    assert len(refused) >= len(whole) // 4096
    assert all(str(file.parent) in told for told in refused)


def test_what_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    text, other, newer = tmp_path / "text", tmp_path / "other", tmp_path / "newer"
    text.write_text("not a database, but long enough to have a header like that of one\n" * 9)
    rows = sqlite3.connect(other)
    rows.execute("CREATE TABLE mine (x)")
    rows.close()
    rows = sqlite3.connect(newer)
    rows.executescript(f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 99;")
    rows.execute("CREATE TABLE calls (x)")
    rows.close()
    for path, said in ((text, "not a database"), (other, "no recording"), (newer, "format 99")):
        before = path.read_bytes()
        for use in (ReplayEngine, lambda p: RecordingEngine(scripted(), p)):
            with pytest.raises(InputError, match=said):
                use(path)
        assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"no recording.*--record"):
        ReplayEngine(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    for path in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(InputError, match=r"folder|unable to open"):
            RecordingEngine(scripted(), path)
