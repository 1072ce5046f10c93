"""Recordings: what is kept of calls, what is not, and what becomes of a file that is not whole."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import tiny

from ponder.runtime import (
    Branch,
    BranchPath,
    CapabilityError,
    ContextOverflow,
    Engine,
    Finish,
    InputError,
    Message,
    ModelError,
    NotRecorded,
    PonderError,
    PoolExhausted,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    Scored,
    ScriptedEngine,
    Segment,
    SpliceMode,
    ToolCall,
    Usage,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.replay import codec
from ponder.runtime.replay.past import Past
from ponder.runtime.replay.store import APPLICATION
from ponder.runtime.tokens import moved

PATH = BranchPath(7, ("replay",))
FREE = Sampling(max_tokens=6)
Program = Callable[[Engine], Coroutine[Any, Any, object]]


def scripted() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: {"xyz": 2.0, "xuv": 1.0, f"{prompt[:4]}!": 1.0})


def local(**options: Any) -> LocalEngine:
    return LocalEngine(tiny(), threads=1, **{"pages": 100, **options})


def recorded(file: Path, program: Program, engine: Engine | None = None) -> Any:
    return ran(RecordingEngine(engine or scripted(), file), program)


def replayed(file: Path, program: Program) -> Any:
    return ran(ReplayEngine(file), program)


def ran(engine: Engine, program: Program) -> Any:
    async def run() -> object:
        try:
            return await program(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


async def drawn(engine: Engine) -> Segment:
    return await (await engine.open("prompt", path=PATH)).extend(FREE)


# What is kept, to the bit


floats = st.floats() | st.floats(width=32)


@given(st.lists(floats))
def test_floats_come_back_to_the_bit(values: list[float]) -> None:
    back = codec.floats_from(json.loads(codec.to_bytes(codec.floats_data(values))))
    pack = struct.Struct(f"{len(values)}d").pack
    assert pack(*back) == pack(*values)


any_text = st.text(st.characters(codec=None))  # halves of surrogate pairs too
usages = st.builds(Usage, **dict.fromkeys(("prompt", "cached", "decoded"), st.integers(0, 99)))
segments = st.builds(
    Segment,
    text=any_text,
    tokens=st.lists(st.integers(0, 2**40)).map(tuple),
    logprobs=st.lists(st.floats(max_value=0)).map(tuple),
    finish=st.sampled_from(Finish),
    usage=usages,
    reasoning=any_text,
    tool_calls=st.lists(
        st.builds(ToolCall, id=any_text, name=any_text, arguments=any_text), max_size=2
    ).map(tuple),
)


@given(segments)
def test_segments_come_back_whole(segment: Segment) -> None:
    data = json.loads(codec.to_bytes(codec.segment_data(segment)))
    usage = codec.usage_from(json.loads(codec.to_bytes(codec.usage_data(segment.usage))))
    assert codec.segment_from(data, usage) == segment


def test_scores_and_capabilities_come_back_whole() -> None:
    scored = [Scored(tokens=(1, 2), logprobs=(-0.1, -math.inf)), Scored(tokens=(), logprobs=())]
    assert codec.scored_from(json.loads(codec.to_bytes(codec.scored_data(scored)))) == scored
    engine = local(kernels="torch")
    capable = replace(engine.capabilities, heads=("value",))
    data = json.loads(codec.to_bytes(codec.capabilities_data(capable)))
    assert codec.capabilities_from(data) == capable
    asyncio.run(engine.close())


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=5))
def test_borders_follow_edits(edits: list[tuple[int, int, int]]) -> None:
    """Against the rule that all engines share."""
    past = Past.opened("p", None, range(6))
    prompt = 6
    past.splice(6, 6, [9, 9])
    for start, stop, size in edits:
        start, stop = sorted((start % (len(past.tokens) + 1), stop % (len(past.tokens) + 1)))
        rest = past.tokens[stop:]
        past.splice(start, stop, [8] * size + rest)
        prompt = moved(prompt, start, stop, size)
        assert (past.prompt, past.tokens[start + size :]) == (prompt, rest)


# A program meets on replay what it met when it was recorded


async def everything(engine: Engine) -> list[object]:
    """A program that makes every kind of call, and what it was told."""
    capable = replace(engine.capabilities, stream=False)  # of a replay it comes in one piece
    told: list[object] = [engine.name, capable, engine.count("prompt")]
    chat = [Message(role="user", content="Hello"), Message(role="assistant", content="Hi")]
    root = await engine.open(chat, path=PATH)
    told += [root.tokens, root.text, root.resent, root.usage]
    await root.append(" once")
    left, right = root.fork(2)
    told += await asyncio.gather(left.extend(FREE), right.extend(FREE))
    told += [left.tokens, left.tail, left.text, right.usage, engine.spell(right.tail)]
    told += [[d async for d in left.fork(1)[0].stream(FREE)][-1].segment]
    told += [await left.score(["x", "", "yz"]), left.usage]
    end = len(left.tokens)
    told += [tuple(await left.logits()), list(map(tuple, await left.span_logits(end - 2, end)))]
    right.rewind(len(right.tokens) - 1)
    told += [right.text, await right.extend(FREE)]
    await root.join([left, right])
    await root.splice(3, 5, "new")
    told += [root.tokens, root.text, root.usage, await root.extend(FREE)]
    if engine.capabilities.live_views:
        one, other = root.fork(2)
        one.share([other])
        told += [await other.extend(FREE), await one.extend(FREE)]
        kept = root.fork(1)[0]
        await kept.splice(4, 6, mode=SpliceMode.SHIFT)
        told += [await kept.extend(FREE), await root.fork(1)[0].embed("last"), await root.embed()]
    with pytest.raises(CapabilityError, match="'poet'") as caught:
        await root.read("poet")
    told.append(str(caught.value))
    with pytest.raises(InputError, match="start < ") as wrong:
        await root.span_logits(5, 5)
    return [*told, str(wrong.value), [b.usage for b in (root, left, right)]]


@pytest.mark.parametrize(
    "make", [scripted, lambda: local(kernels="torch")], ids=["scripted", "own"]
)
def test_a_program_is_told_the_same(make: Callable[[], Engine], file: Path) -> None:
    first = recorded(file, everything, make())
    again, engine = ran(make(), everything), ReplayEngine(file)
    assert ran(engine, everything) == first
    if isinstance(make(), ScriptedEngine):
        assert again == first, "recording changes nothing"
    stats = engine.stats()
    assert (stats.computed, stats.prefilled, stats.decoded, stats.scored) == (0, 0, 0, 0)


def test_a_stream_is_replayed_as_a_decode_and_the_other_way_round(file: Path) -> None:
    async def streamed(engine: Engine) -> Segment | None:
        branch = await engine.open("prompt", path=PATH)
        deltas = [delta async for delta in branch.stream(FREE)]
        assert deltas[-1].segment is not None
        assert "".join(d.text for d in deltas) == deltas[-1].segment.text
        return deltas[-1].segment

    first = recorded(file, streamed)
    assert replayed(file, drawn) == replayed(file, streamed) == first
    assert recorded(file.with_name("b"), drawn) == replayed(file.with_name("b"), streamed)


def test_equal_settings_are_equal_however_they_are_written(file: Path) -> None:
    async def asked(engine: Engine, temperature: float) -> Segment:
        params = Sampling(max_tokens=6, temperature=temperature, bias=((120, 1),))
        return await (await engine.open("prompt", path=PATH)).extend(params)

    assert recorded(file, lambda e: asked(e, 1.0)) == replayed(file, lambda e: asked(e, 1))


def test_refusals_are_on_record(file: Path) -> None:
    async def refused(engine: Engine) -> list[str]:
        told = []
        for text in ("x" * 600, "ok"):
            try:
                branch = await engine.open(text, path=PATH)
                await branch.append("y" * 600)
            except ContextOverflow as error:
                told.append(str(error))
        return told

    first = recorded(file, refused, ScriptedEngine(context_length=512))
    assert len(first) == 2
    assert replayed(file, refused) == first


class Failing(ScriptedEngine):
    """Fails its first decode, as an endpoint may."""

    failed = False

    async def pause(self, path: BranchPath, tokens: int) -> None:
        if not self.failed:
            self.failed = True
            raise PoolExhausted("no room for now")
        await super().pause(path, tokens)


def test_what_failed_is_not_kept_and_what_came_of_another_try_is(file: Path) -> None:
    async def twice(engine: Engine) -> Segment:
        with suppress(ModelError):
            await drawn(engine)
        return await drawn(engine)

    first = recorded(file, twice, Failing(lambda _: {"xyz": 1.0}))
    assert replayed(file, drawn) == first


def test_what_was_cancelled_is_not_kept(file: Path) -> None:
    async def cancelled(engine: Engine) -> None:
        branch = await engine.open("prompt", path=PATH)
        task = asyncio.ensure_future(branch.extend(FREE))
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        async for _ in branch.fork(1)[0].stream(FREE):
            break

    slow = ScriptedEngine(lambda _: {"xyz": 1.0}, delay=lambda path, tokens: 0.2)
    recorded(file, cancelled, slow)
    with pytest.raises(NotRecorded, match="'extend' for branch 7/replay: no such branch"):
        replayed(file, drawn)


def test_a_deadline_cuts_on_replay_what_it_cut_then(file: Path) -> None:
    async def asked(engine: Engine, deadline: float | None) -> Segment:
        branch = await engine.open("prompt", path=PATH)
        return await branch.extend(FREE, deadline=deadline)

    cut = recorded(file, lambda e: asked(e, -1.0))
    assert cut.finish is Finish.BUDGET
    assert replayed(file, lambda e: asked(e, 100.0)) == cut
    with pytest.raises(NotRecorded, match="its deadline ended it then"):
        replayed(file, lambda e: asked(e, None))
    whole = recorded(file, lambda e: asked(e, None))
    assert replayed(file, lambda e: asked(e, None)) == whole
    assert replayed(file, lambda e: asked(e, 100.0)) == whole


class Seedless(ScriptedEngine):
    """Draws something else each time."""

    def __init__(self) -> None:
        super().__init__(lambda _: {str(self.draws): 1.0})
        self.draws = 0
        self.capabilities = replace(self.capabilities, seed=False)

    async def pause(self, path: BranchPath, tokens: int) -> None:
        self.draws += 1
        await super().pause(path, tokens)


async def three(engine: Engine) -> list[str]:
    branch = await engine.open("prompt", path=PATH)
    texts = []
    for _ in range(3):
        texts.append((await branch.extend(FREE)).text)
        branch.rewind(6)
    return texts


def test_a_call_made_again_gives_what_it_gave_again(file: Path) -> None:
    assert recorded(file, three, Seedless()) == ["0", "1", "2"]
    assert replayed(file, three) == ["0", "1", "2"]

    async def four(engine: Engine) -> None:
        await three(engine)
        await (await engine.open("prompt", path=PATH)).extend(FREE)

    with pytest.raises(NotRecorded, match="made 3 times then, and now once more"):
        replayed(file, four)
    seeded = file.with_name("seeded")
    recorded(seeded, drawn)
    assert len(set(replayed(seeded, three))) == 1, "a draw is a function of its path"


# What is missing


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (lambda e: e.open("prompt", path=BranchPath(8, ("replay",))), "run with seed 7, not 8"),
        (lambda e: e.open("other", path=PATH), "prompt was 'prompt', and is 'other'"),
        (lambda e: e.open("prompt", path=PATH.child("x")), "no such branch made such a call"),
        (lambda e: extended(e, max_tokens=5), "max_tokens was 6, and is 5"),
        (lambda e: extended(e, temperature=0.5), "temperature was 1.0, and is 0.5"),
        (lambda e: extended(e, times=2), "the branch held other tokens then"),
    ],
)
def test_a_miss_says_what_differs(program: Program, said: str, file: Path) -> None:
    recorded(file, drawn)
    with pytest.raises(NotRecorded, match=said) as caught:
        replayed(file, program)
    assert str(file) in str(caught.value)


async def extended(engine: Engine, *, times: int = 1, **changes: Any) -> None:
    branch = await engine.open("prompt", path=PATH)
    for _ in range(times):
        await branch.extend(replace(FREE, **changes))


def test_facts_nobody_asked_for_are_missing(file: Path) -> None:
    recorded(file, drawn)

    async def asks(engine: Engine) -> None:
        branch = await engine.open("prompt", path=PATH)
        await branch.extend(FREE)
        with pytest.raises(InputError, match=r"how many tokens this prompt or text has.*'prompt'"):
            engine.count("prompt")
        with pytest.raises(NotRecorded, match=r"how these tokens are spelt.*\[1, 2\]"):
            engine.spell([1, 2])
        with pytest.raises(NotRecorded, match="spelt"):
            branch.text  # noqa: B018 - a property that looks it up

    replayed(file, asks)


def test_one_file_for_several_engines(file: Path) -> None:
    one, other = ScriptedEngine(name="one"), ScriptedEngine(lambda _: {"b": 1.0}, name="other")
    ran(RecordingEngine(one, file, model="first"), drawn)
    ran(RecordingEngine(other, file), drawn)
    assert ran(ReplayEngine(file, model="other"), drawn).text == "b"
    assert ReplayEngine(file, model="first").name == "one"
    with pytest.raises(InputError, match="'one', 'other'; say which"):
        ReplayEngine(file)
    with pytest.raises(InputError, match="unknown model 'firs'; did you mean 'first'"):
        ReplayEngine(file, model="firs")
    narrow = ScriptedEngine(name="one", context_length=9)
    with pytest.raises(InputError, match="other capabilities"):
        RecordingEngine(narrow, file)


# Files


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


# Branches of a replay


def test_a_second_call_on_a_branch_is_refused_and_not_kept(file: Path) -> None:
    async def busy(engine: Engine) -> None:
        branch = await engine.open("prompt", path=PATH)
        task = asyncio.ensure_future(branch.extend(FREE))
        await asyncio.sleep(0)
        if isinstance(engine, ReplayEngine):
            for call in (branch.extend(FREE), branch.append("x")):
                with pytest.raises(InputError, match="another call"):
                    await call
            with pytest.raises(InputError, match="another call"):
                branch.rewind(1)
        await task

    recorded(file, busy)
    replayed(file, busy)
    replayed(file, drawn)


def test_closing_ends_what_is_under_way(file: Path) -> None:
    recorded(file, drawn)

    async def closed(engine: Engine) -> Finish:
        branch = await engine.open("prompt", path=PATH)
        task = asyncio.ensure_future(branch.extend(FREE))
        await asyncio.sleep(0)
        branch.close()
        return (await task).finish

    assert replayed(file, closed) is Finish.CANCELLED

    async def engine_closed(engine: Engine) -> None:
        branch = await engine.open("prompt", path=PATH)
        task = asyncio.ensure_future(branch.extend(FREE))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(ModelError, match="closed"):
            await task
        with pytest.raises(ModelError, match="closed"):
            await engine.open("prompt", path=PATH)
        branch.close()
        assert engine.stats().branches == 0

    replayed(file, engine_closed)


def test_branches_of_others_are_refused(file: Path) -> None:
    recorded(file, drawn)

    async def strangers(engine: Engine) -> None:
        root = await engine.open("prompt", path=PATH)
        (left,) = root.fork(1)
        others: list[Sequence[Branch]] = [[root], [left, left], [left.fork(1)[0]]]
        for each in others:
            with pytest.raises(InputError, match="forks of this branch"):
                await root.join(each)
        with pytest.raises(CapabilityError, match="live views"):
            left.share([root])
        with pytest.raises(CapabilityError, match="KEEP"):
            await root.splice(1, 2, mode=SpliceMode.KEEP)

    replayed(file, strangers)
