"""Splice, join, share and pin, each against the dense model; what may go wrong with them; and ten
thousand branches in a pool of 64 pages.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from dense import Dense, DenseBranch
from programs import MODEL, advance, close_to, log_softmax, obeyed

from ponder.runtime import (
    BranchClosed,
    BranchPath,
    CapabilityError,
    ContextOverflow,
    Finish,
    InputError,
    PoolExhausted,
    Sampling,
    SpliceMode,
)
from ponder.runtime.engine.branch import LocalBranch
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.engine.journal import Journal
from ponder.runtime.kernels import native
from ponder.runtime.runners.choice import Kernels

NATIVE: list[Kernels] = ["native"] if native.instruction_sets() else []
KERNELS: list[Kernels] = ["torch", *NATIVE]
DENSE = Dense(MODEL)
PATH = BranchPath(8, ("views",))
PROMPT = "a prompt that fills more than one page, and then some, so that there is much to cut"
FREE = Sampling(max_tokens=5)

Make = Callable[..., LocalEngine]


@asynccontextmanager
async def running(kernels: Kernels, **settings: Any) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(MODEL, threads=1, kernels=kernels, **{"pages": 200, **settings})
    try:
        yield engine
    finally:
        await engine.close()


def on_every_runner(
    test: Callable[[LocalEngine], Coroutine[Any, Any, None]],
) -> Callable[[Kernels], None]:
    """Runners without shifts are skipped by name."""

    @pytest.mark.parametrize("kernels", KERNELS)
    def run(kernels: Kernels) -> None:
        async def body() -> None:
            async with running(kernels) as engine:
                if not engine.core.runner.shifts:
                    pytest.skip(f"{engine.name} has no shifts")
                await test(engine)

        asyncio.run(body())

    run.__name__ = test.__name__
    return run


def held(until: threading.Event) -> None:
    until.wait(10)


async def opened(engine: LocalEngine, prompt: str = PROMPT) -> tuple[LocalBranch, DenseBranch]:
    branch = await engine.open(prompt, path=PATH)
    return branch, DenseBranch.open(DENSE, list(prompt.encode()))


async def extended(branch: LocalBranch, dense: DenseBranch, count: int = 5) -> None:
    segment = await branch.extend(Sampling(max_tokens=count))
    for token, logprob in zip(segment.tokens, segment.logprobs, strict=True):
        close_to(logprob, log_softmax(advance(dense, token))[token])


async def distribution(branch: LocalBranch) -> Any:
    return log_softmax(np.asarray(await branch.logits()))


async def agree(branch: LocalBranch, dense: DenseBranch) -> None:
    assert list(branch.tokens) == dense.tokens
    want = log_softmax(dense.logits())
    np.testing.assert_allclose(await distribution(branch), want, rtol=0, atol=1e-4)


@on_every_runner
async def test_each_mode_is_what_it_says(engine: LocalEngine) -> None:
    for mode in SpliceMode:
        for start, stop, text in [(5, 40, ""), (5, 40, "instead"), (0, 17, ""), (20, 20, "more")]:
            branch, dense = await opened(engine)
            await branch.splice(start, stop, text, mode)
            dense.splice(start, stop, list(text.encode()), mode)
            await agree(branch, dense)
            await extended(branch, dense)
            assert branch.usage.prompt == len(PROMPT) + len(text) + (
                len(PROMPT) - stop if mode is SpliceMode.REENCODE else 0
            )


@on_every_runner
async def test_the_modes_differ_and_only_reencoding_is_exact(engine: LocalEngine) -> None:
    fresh = await engine.open(PROMPT[:5] + PROMPT[40:], path=PATH)
    want = await distribution(fresh)
    far: dict[SpliceMode, float] = {}
    for mode in SpliceMode:
        branch, _ = await opened(engine)
        await branch.splice(5, 40, mode=mode)
        assert branch.tokens == fresh.tokens
        far[mode] = float(np.abs(await distribution(branch) - want).max())
    assert far[SpliceMode.REENCODE] < 1e-5
    assert min(far[SpliceMode.KEEP], far[SpliceMode.SHIFT]) > 1e-3


@on_every_runner
async def test_splices_of_splices_and_rewinding_into_them(engine: LocalEngine) -> None:
    for mode in SpliceMode:
        branch, dense = await opened(engine)
        for start, stop, text in [(60, 70, ""), (3, 20, "xy"), (30, 31, "long enough to fill it")]:
            await branch.splice(start, stop, text, mode)
            dense.splice(start, stop, list(text.encode()), mode)
            await extended(branch, dense, 3)
        for to in (len(branch.tokens) - 1, 40, 33, 10, 2):
            branch.rewind(to)
            dense.rewind(to)
            await agree(branch, dense)
        await extended(branch, dense)


@on_every_runner
async def test_joins_bring_tails_along(engine: LocalEngine) -> None:
    for mode in SpliceMode:
        root, dense = await opened(engine)
        forks, twins = root.fork(3), [dense.fork() for _ in range(3)]
        for i, (fork, twin) in enumerate(zip(forks[:2], twins[:2], strict=True)):
            await extended(fork, twin, 3 + 20 * i)
        before = engine.stats()
        await root.join(forks, mode)
        dense.join(twins, mode)
        await agree(root, dense)
        given = 26 if mode is SpliceMode.REENCODE else 0
        after = engine.stats()
        assert after.prefilled + after.cached - before.prefilled - before.cached == given
        await extended(root, dense)
        for fork, twin in zip(forks, twins, strict=True):
            await extended(fork, twin)


@on_every_runner
async def test_a_branch_that_lost_its_kv_is_rebuilt_the_same(engine: LocalEngine) -> None:
    """To the bit, where the runner does not depend on company and chunks."""
    for mode in SpliceMode:
        root, dense = await opened(engine)
        child, twin = root.fork(1)[0], dense.fork()
        await extended(child, twin)
        await root.splice(10, 30, "and", mode)
        dense.splice(10, 30, list(b"and"), mode)
        await root.join([child], mode)
        dense.join([twin], mode)
        await root.splice(40, 50, mode=mode)
        dense.splice(40, 50, [], mode)
        kept = await distribution(root)
        await obeyed(engine, lambda: lose(engine))
        again = await distribution(root)
        exact = engine.core.runner.description.count("native")
        np.testing.assert_allclose(again, kept, rtol=0, atol=0 if exact else 1e-5)
        await agree(root, dense)


def held_up(engine: LocalEngine) -> threading.Event:
    """Set it, and the engine's thread goes on."""
    hold = threading.Event()

    def wait() -> None:
        hold.wait(10)

    engine.thread.post(wait)
    return hold


def lose(engine: LocalEngine) -> None:
    """All KV, the tree's too."""
    core = engine.core
    for lane in core.lanes():
        core.scheduler.preempt(lane)
    core.tree.evict(core.pool.total, all_leaves=True)
    assert core.pool.held == 0


@on_every_runner
async def test_workers_see_each_other(engine: LocalEngine) -> None:
    root, dense = await opened(engine)
    forks, twins = root.fork(3), [dense.fork() for _ in range(3)]
    await extended(forks[0], twins[0], 2)
    for i in range(3):
        others = [j for j in (0, 1, 2) if j != i]
        forks[i].share([forks[j] for j in others])
        twins[i].share([twins[j] for j in others])
    for turn in range(6):
        await extended(forks[turn % 3], twins[turn % 3], 1 + turn)
        await agree(forks[2], twins[2])
    child, twin = forks[0].fork(1)[0], twins[0].fork()
    await extended(child, twin)
    forks[1].close()
    await extended(forks[0], twins[0])
    forks[2].rewind(len(PROMPT) + 1)
    twins[2].rewind(len(PROMPT) + 1)
    await extended(forks[0], twins[0])
    await extended(forks[2], twins[2])
    with pytest.raises(InputError, match="shares others"):
        await forks[0].splice(1, 5)
    with pytest.raises(InputError, match="REENCODE"):
        await root.join([forks[0]], SpliceMode.KEEP)
    await root.join([forks[0], forks[2]])
    dense.join([twins[0], twins[2]], SpliceMode.REENCODE)
    await agree(root, dense)


@on_every_runner
async def test_in_one_step_workers_see_that_step(engine: LocalEngine) -> None:
    root, dense = await opened(engine)
    forks, twins = root.fork(2), [dense.fork() for _ in range(2)]
    for i in (0, 1):
        forks[i].share([forks[1 - i]])
        twins[i].share([twins[1 - i]])
    hold = held_up(engine)
    tasks = [asyncio.ensure_future(fork.extend(FREE)) for fork in forks]
    await asyncio.sleep(0.01)
    hold.set()
    segments = await asyncio.gather(*tasks)
    for step in range(5):
        rows = [twin.row() for twin in twins]
        for i in (0, 1):
            twins[i].take(rows[i].cell, segments[i].tokens[step])
        # Each sees the other's token of the same step, so its own place is one further on.
        rows = [again(twin, row.cell) for twin, row in zip(twins, rows, strict=True)]
        logits = DENSE.step(rows)
        for i in (0, 1):
            token = segments[i].tokens[step]
            close_to(segments[i].logprobs[step], log_softmax(logits[i])[token])


def again(twin: DenseBranch, cell: Any) -> Any:
    """The row of the newest cell, as the twin sees it with all cells that there are now."""
    place = twin.cells.pop()
    row = twin.row()
    twin.cells.append(place)
    row.cell = cell
    return row


@on_every_runner
async def test_what_a_sharer_sees_does_not_depend_on_what_was_cached(engine: LocalEngine) -> None:
    root, dense = await opened(engine)
    forks, twins = root.fork(2), [dense.fork() for _ in range(2)]
    for fork, twin in zip(forks, twins, strict=True):
        await extended(fork, twin)
    await obeyed(engine, lambda: lose(engine))
    for i in (0, 1):
        forks[i].share([forks[1 - i]])
        twins[i].share([twins[1 - i]])
    await extended(forks[0], twins[0])
    await extended(forks[1], twins[1])


@on_every_runner
async def test_views_that_reach_the_end_of_the_context_say_so(engine: LocalEngine) -> None:
    root = await engine.open("x" * 100, path=PATH)
    left, right = root.fork(2)
    await right.append("y" * 100)
    left.share([right])
    segment = await left.extend(Sampling(max_tokens=100))
    assert segment.finish is Finish.LENGTH
    # The prompt but its last token, then 99 of the other's, then its own: 58 positions are left.
    assert len(segment.tokens) == 256 - 99 - 99
    with pytest.raises(ContextOverflow, match="sees of others"):
        await left.append("z" * 20)
    await root.append("w" * 60)
    with pytest.raises(ContextOverflow, match="joining"):
        await root.join([right], SpliceMode.SHIFT)


@on_every_runner
async def test_wrong_calls_are_refused(engine: LocalEngine) -> None:
    root, _ = await opened(engine)
    left, right = root.fork(2)
    (grandchild,) = left.fork(1)
    for start, stop in [(-1, 3), (4, 3), (0, len(PROMPT) + 1), (0, len(PROMPT))]:
        with pytest.raises(InputError, match="splice"):
            await root.splice(start, stop)
    for others in ([grandchild], [root], [left, left]):
        with pytest.raises(InputError, match="forks of this branch"):
            await root.join(others)
    for others in ([left], [root], [grandchild], [right, right]):
        with pytest.raises(InputError, match="other forks"):
            left.share(others)
    with pytest.raises(InputError, match="not pinned"):
        left.unpin()
    with pytest.raises(ContextOverflow, match="splicing"):
        await root.splice(3, 4, "x" * 300, SpliceMode.KEEP)
    right.close()
    with pytest.raises(BranchClosed):
        await root.join([left, right])
    with pytest.raises(BranchClosed):
        left.share([right])
    for call in (right.pin, right.unpin, lambda: right.share([left]), lambda: right.fork(1)):
        with pytest.raises(BranchClosed):
            call()
    for coroutine in (right.splice(1, 2), right.join([])):
        with pytest.raises(BranchClosed):
            await coroutine
    await root.join([left])
    await root.splice(3, 3)
    assert len(root.tokens) == len(PROMPT)


@pytest.mark.parametrize("kernels", KERNELS)
def test_closing_during_a_splice_or_a_join_ends_it(kernels: Kernels) -> None:
    async def body() -> None:
        async with running(kernels, step_tokens=8) as engine:
            mode = SpliceMode.SHIFT if engine.core.runner.shifts else SpliceMode.REENCODE
            for name in ("splice", "join"):
                root, _ = await opened(engine)
                (fork,) = root.fork(1)
                await fork.append("z" * 60)
                call = root.splice(5, 9, "w" * 90, mode) if name == "splice" else root.join([fork])
                hold = held_up(engine)
                task = asyncio.ensure_future(call)
                await asyncio.sleep(0.01)
                root.close()
                hold.set()
                with pytest.raises(BranchClosed):
                    await task
                assert len(root.tokens) == len(PROMPT)
                fork.close()
            assert engine.stats().branches == 0

    asyncio.run(body())


@pytest.mark.parametrize("kernels", KERNELS)
def test_pinned_branches_keep_their_kv_and_others_are_told(kernels: Kernels) -> None:
    async def body() -> None:
        async with running(kernels, pages=8) as engine:
            pinned = await engine.open("p" * 60, path=PATH)
            pinned.pin()
            pinned.pin()
            pinned.unpin()
            other = await engine.open("q" * 40, path=PATH.child(1))
            third = await engine.open("r" * 50, path=PATH.child(2), priority=9)
            assert engine.stats().preempted > 0
            with pytest.raises(PoolExhausted, match="1 branches of it pinned"):
                await third.extend(Sampling(max_tokens=60))
            before = engine.stats()
            await pinned.extend(FREE)
            assert engine.stats().prefilled == before.prefilled
            assert engine.stats().steps == before.steps + 5
            pinned.unpin()
            assert len((await third.extend(Sampling(max_tokens=60))).tokens) == 60
            assert len((await other.extend(FREE)).tokens) == 5

    asyncio.run(body())


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_runner_without_shifts_is_told_apart(kernels: Kernels) -> None:
    async def body() -> None:
        async with running(kernels) as engine:
            capable = engine.core.runner.shifts
            assert engine.capabilities.live_views == capable
            assert engine.capabilities.splice == frozenset(
                SpliceMode if capable else [SpliceMode.REENCODE]
            )
            if not capable:
                branch, _ = await opened(engine)
                left, right = branch.fork(2)
                for mode in (SpliceMode.KEEP, SpliceMode.SHIFT):
                    with pytest.raises(CapabilityError, match="REENCODE"):
                        await branch.splice(1, 2, mode=mode)
                    with pytest.raises(CapabilityError, match="REENCODE"):
                        await branch.join([left], mode)
                with pytest.raises(CapabilityError, match="live views"):
                    left.share([right])

    asyncio.run(body())


@pytest.mark.parametrize("forked", [False, True])
def test_ten_thousand_branches_in_64_pages_all_finish(forked: bool) -> None:
    """With priorities; each draws what it draws alone."""
    count = 10_000

    async def finish(branch: LocalBranch) -> tuple[int, ...]:
        async with branch:
            return (await branch.extend(Sampling(max_tokens=2))).tokens

    async def start(engine: LocalEngine, i: int) -> tuple[int, ...]:
        path, prompt = PATH.child(i), "prompt" if forked else f"{i}"
        return await finish(await engine.open(prompt, path=path, priority=i % 3))

    async def body() -> None:
        async with running("auto", pages=64) as engine:
            if forked:
                root = await engine.open("prompt", path=PATH)
                crowd = await asyncio.gather(*map(finish, root.fork(count)))
                root.close()
            else:
                crowd = await asyncio.gather(*(start(engine, i) for i in range(count)))
            stats = engine.stats()
            assert (stats.branches, stats.decoded) == (0, 2 * count)
            assert stats.preempted > 0
        async with running("auto") as engine:
            root = await engine.open("prompt", path=PATH)
            few = root.fork(count) if forked else ()
            for i in range(0, count, 997):
                alone = await (finish(few[i]) if forked else start(engine, i))
                assert alone == crowd[i]

    asyncio.run(body())


def test_pasts_stay_as_small_as_the_edits_are_many() -> None:
    """A journal of a thousand edits is built in as many pieces, and not in twice as many each
    time.
    """
    from ponder.runtime.engine.build import Build
    from ponder.runtime.engine.edits import splice
    from ponder.runtime.engine.pool import PagePool

    journal = Journal.of(range(40))
    for i in range(1000):
        edit = splice(journal, 5, 6, [100 + i], SpliceMode.SHIFT)
        assert edit is not None
        journal = edit.journal
    pool = PagePool(100)
    build = Build(pool, journal.past, {})
    computed = 0
    while not build.done:
        rows = len(build.source.tokens) - build.view.length
        build.view.grow(rows)
        computed += rows
        build.advance()
    view = build.finish()
    assert view.length == 39
    assert computed == 39 + 1000
    view.release()
    assert pool.held == 0
