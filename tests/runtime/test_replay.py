"""Recordings: what is kept of calls, what is not, and what becomes of a file that is not whole."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import FREE, PATH, Program, drawn, ran, recorded, replayed, scripted, three
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
    PoolExhausted,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    Scored,
    ScriptedEngine,
    Segment,
    SpliceMode,
    Standing,
    ToolCall,
    Usage,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.replay import codec
from ponder.runtime.replay.past import Past
from ponder.runtime.tokens import moved


def local(**options: Any) -> LocalEngine:
    return LocalEngine(tiny(), threads=1, **{"pages": 100, **options})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


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
    past = Past.opened("p", None, range(6), Standing(path=BranchPath(0)))
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
