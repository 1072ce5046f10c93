"""Reading what the model makes of tokens: hidden states, heads, logits of a span; what that costs,
by true counters; and that it depends on nobody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from native_cases import require
from tiny_llama import CONFIG, reference, tiny
from torch import Tensor

from ponder.runtime import (
    BranchClosed,
    BranchPath,
    EngineStats,
    InputError,
    ModelError,
    PoolExhausted,
    Sampling,
)
from ponder.runtime.engine.branch import LocalBranch
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.models.heads import Affine, Head
from ponder.runtime.runners.api import Work

PATH = BranchPath(9, ("readings",))
PROMPT = "a step of a solution, and then another one"
torch.manual_seed(5)
HEADS = {
    "reward": Head(layers=(Affine(weight=torch.randn(1, 48), bias=torch.randn(1)),)),
    "classes": Head(
        layers=(Affine(weight=torch.randn(20, 48)), Affine(weight=torch.randn(2, 20))),
        outputs="softmax",
    ),
}
TORCH = tiny(ends=False)
NATIVE = tiny(replace(CONFIG, head_dim=32), ends=False)


@asynccontextmanager
async def engine_of(
    model: LoadedModel = TORCH, *, pages: int = 400, step_tokens: int = 512
) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(model, pages=pages, threads=1, step_tokens=step_tokens, heads=HEADS)
    try:
        yield engine
    finally:
        await engine.close()


def watched(engine: LocalEngine) -> list[int]:
    """Tokens of each step, as the runner itself is given them."""
    rows: list[int] = []
    runner: Any = engine.core.runner  # no other place sees every row
    hidden = runner.hidden

    def counting(works: Sequence[Work]) -> Tensor:
        rows.append(sum(len(work.tokens) for work in works))
        result: Tensor = hidden(works)
        return result

    runner.hidden = counting
    return rows


def accounted(stats: EngineStats) -> int:
    given = stats.prefilled - stats.opened
    return given + stats.decoded + stats.scored + stats.recomputed + stats.dropped


@torch.inference_mode()
def test_what_is_read_is_what_transformers_has() -> None:
    found = reference()(torch.tensor([list(PROMPT.encode())]), output_hidden_states=True)
    states, logits = found.hidden_states[-1][0], found.logits[0]

    async def body() -> None:
        async with engine_of(step_tokens=5) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            n = len(branch.tokens)
            read = torch.tensor(await branch.read("reward", 0))
            layer = HEADS["reward"].layers[0]
            assert read.allclose(states @ layer.weight.T + layer.bias, atol=1e-4)
            assert torch.tensor(await branch.embed()).allclose(states.mean(0), atol=1e-4)
            assert torch.tensor(await branch.embed("last")).allclose(states[-1], atol=1e-4)
            tail = torch.tensor(await branch.embed("mean", 30))
            assert tail.allclose(states[30:].mean(0), atol=1e-4)
            for start, stop in ((0, n), (7, 8), (3, 30), (n - 1, n)):
                got = torch.tensor(await branch.span_logits(start, stop))
                assert got.allclose(logits[start:stop], atol=1e-4)
            assert len(branch.tokens) == n
            assert branch.usage.scored == n + n + 1 + (n - 30) + n + 1 + 27 + 1

    asyncio.run(body())


def test_a_shadow_branch_pays_for_each_step_and_no_more() -> None:
    """A policy branch and its scoring branch fork together; a step is drawn on the one, appended to
    the other and read there.
    """

    async def body() -> None:
        async with engine_of() as engine:
            policy = await engine.open(PROMPT, path=PATH)
            shadow = await engine.open("Judge: " + PROMPT, path=PATH.child(9))
            rows = watched(engine)
            for _ in range(3):
                policies, shadows = policy.fork(3), shadow.fork(3)
                before = engine.stats()
                steps = await asyncio.gather(*(p.extend(Sampling(max_tokens=17)) for p in policies))
                middle, drawn = engine.stats(), sum(rows)
                assert middle.computed - before.computed == drawn == 3 * 17
                lengths = [len(s.text.encode()) for s in steps]
                for branch, step in zip(shadows, steps, strict=True):
                    await branch.append(step.text)
                    ((reward,),) = await branch.read("reward")
                    assert reward == reward
                after = engine.stats()
                # An append runs the token before the step, unless a sibling did, and the step but
                # for its last token, which waits for the reading.
                prefilled = after.prefilled - middle.prefilled
                assert prefilled + after.cached - middle.cached == sum(lengths)
                assert after.scored - middle.scored == 3
                assert sum(rows) - drawn == after.computed - middle.computed == prefilled + 3
                assert 0 <= sum(lengths) - prefilled <= 2 * (1 + min(lengths))
                assert after.recomputed == 0
                policy, shadow = policies[0], shadows[0]
                rows.clear()

    asyncio.run(body())


async def everything(engine: LocalEngine, i: int) -> tuple[object, ...]:
    """What branch i reads and draws; tokens and floats, exact."""
    text = "a common beginning that is longer than a page " + "x" * (i % 21)
    branch = await engine.open(text, path=PATH.child(i), priority=i % 3)
    segment = await branch.extend(Sampling(max_tokens=5 + i % 13))
    (child,) = branch.fork(1)
    read = await branch.read("classes", len(branch.tokens) - 9 - i % 7)
    reward = await child.read("reward")
    await child.append(" so")
    vector = await child.embed("mean", i % 40)
    logits = await child.span_logits(10, 12)
    (scored,) = await child.score(["therefore"])
    branch.close()
    child.close()
    return segment, read, reward, vector, logits, scored


def test_readings_do_not_depend_on_company_chunks_or_preemption() -> None:
    require("")
    branches = 24

    async def crowd(which: range, *, pages: int, step_tokens: int) -> tuple[list[object], int]:
        async with engine_of(NATIVE, pages=pages, step_tokens=step_tokens) as engine:
            rows = watched(engine)
            found = await asyncio.gather(*(everything(engine, i) for i in which))
            stats = engine.stats()
            assert stats.computed == sum(rows) == accounted(stats)
            assert stats.dropped == 0
            assert (stats.recomputed > 0) == (stats.preempted > 0)
            return list(found), stats.preempted

    async def body() -> None:
        want, none = await crowd(range(branches), pages=1500, step_tokens=512)
        squeezed, preempted = await crowd(range(branches), pages=16, step_tokens=512)
        chunked, _ = await crowd(range(branches), pages=1500, step_tokens=7)
        assert (none, preempted > 0) == (0, True)
        assert squeezed == want
        assert chunked == want
        for i in (0, 13):
            alone, _ = await crowd(range(i, i + 1), pages=1500, step_tokens=512)
            assert alone == [want[i]]

    asyncio.run(body())


def test_preemption_is_counted_token_by_token() -> None:
    """The same calls in a large and in a small pool: the difference is what was recomputed, less
    what was found in the cache.
    """

    async def run(pages: int) -> EngineStats:
        async with engine_of(pages=pages) as engine:

            async def one(i: int) -> None:
                branch = await engine.open(
                    f"{chr(97 + i)} is a prompt of its own", path=PATH.child(i)
                )
                await branch.extend(Sampling(max_tokens=30))
                await branch.score(["x", "yes"])
                await branch.logits()

            await asyncio.gather(*(one(i) for i in range(12)))
            return engine.stats()

    async def body() -> None:
        roomy, tight = await run(400), await run(9)
        assert (roomy.recomputed, roomy.preempted) == (0, 0)
        assert tight.preempted > 0
        for stats in (roomy, tight):
            assert stats.computed == accounted(stats)
        assert (tight.prefilled, tight.cached) == (roomy.prefilled, roomy.cached)
        assert (tight.decoded, tight.scored) == (roomy.decoded, roomy.scored)
        assert tight.computed - roomy.computed == tight.recomputed > 0

    asyncio.run(body())


def test_time_is_split_and_adds_up() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            start = engine.clock()
            branch = await engine.open(PROMPT, path=PATH)
            await branch.extend(Sampling(max_tokens=20))
            time, wall = engine.stats().time, engine.clock() - start
            assert min(time.linear, time.head, time.sampling, time.host) > 0
            parts = time.linear + time.attention + time.other + time.head + time.sampling
            assert parts + time.host == pytest.approx(time.total)
            assert time.total <= wall

    asyncio.run(body())


Call = Callable[[LocalBranch], Coroutine[Any, Any, object]]


async def streamed(branch: LocalBranch) -> object:
    return [delta async for delta in branch.stream(Sampling(max_tokens=300))]


CALLS: dict[str, Call] = {
    "extend": lambda branch: branch.extend(Sampling(max_tokens=300)),
    "stream": streamed,
    "append": lambda branch: branch.append("x" * 300),
    "score": lambda branch: branch.score(["x" * 300] * 3),
    "logits": lambda branch: branch.logits(),
    "span_logits": lambda branch: branch.span_logits(0, 40),
    "read": lambda branch: branch.read("classes", 0),
    "embed": lambda branch: branch.embed(),
}
COMMITS = {"extend", "stream"}
call_kinds = pytest.mark.parametrize("kind", CALLS)


@asynccontextmanager
async def begun(
    engine: LocalEngine, branch: LocalBranch, kind: str
) -> AsyncIterator[asyncio.Task[object]]:
    """The call as a task, held in its third step, or its only one, until the block is left."""
    runner: Any = engine.core.runner  # the engine has no brake of its own
    hidden, inside, go = runner.hidden, threading.Event(), threading.Event()
    steps = count(1 if kind != "logits" else 3)

    def held(works: Sequence[Work]) -> Tensor:
        if next(steps) >= 3:
            inside.set()
            go.wait(30)
        result: Tensor = hidden(works)
        return result

    runner.hidden = held
    task = asyncio.ensure_future(CALLS[kind](branch))
    try:
        assert await asyncio.to_thread(inside.wait, 30)
        yield task
    finally:
        go.set()
        runner.hidden = hidden


@call_kinds
def test_cancelled_once_or_twice_a_branch_goes_on(kind: str) -> None:
    async def body() -> None:
        async with engine_of(step_tokens=3) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            async with begun(engine, branch, kind) as task:
                task.cancel()
                await asyncio.wait([task])
                task.cancel()
            drawn = branch.tokens[len(PROMPT) :]
            assert len(drawn) == (2 if kind in COMMITS else 0)
            assert branch.usage.tokens == len(PROMPT) + len(drawn)
            await branch.extend(Sampling(max_tokens=4))
            fresh = await engine.open(PROMPT, path=PATH)
            await fresh.extend(Sampling(max_tokens=len(drawn) + 4))
            assert fresh.tokens == branch.tokens
            for each in (branch, fresh):
                each.close()
            await (await engine.open("x", path=PATH)).logits()  # all commands are obeyed by now
            stats = engine.stats()
            assert stats.computed == accounted(stats)
            assert stats.dropped > 0
        engine.core.tree.evict(400, all_leaves=True)
        assert engine.core.pool.held == 0, "a fork was left behind"

    asyncio.run(body())


@call_kinds
def test_closed_under_way_a_call_ends(kind: str) -> None:
    async def body() -> None:
        async with engine_of(step_tokens=3) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            async with begun(engine, branch, kind) as task:
                branch.close()
                branch.close()
                if kind in COMMITS:
                    await task
                    assert len(branch.tokens) == len(PROMPT) + 2
                else:
                    with pytest.raises(BranchClosed, match="readings"):
                        await task
            with pytest.raises(BranchClosed, match="readings"):
                await CALLS[kind](branch)
            with pytest.raises(BranchClosed, match="readings"):
                branch.fork(1)

    asyncio.run(body())


@call_kinds
def test_a_closed_engine_fails_the_call_under_way(kind: str) -> None:
    async def body() -> None:
        async with engine_of(step_tokens=3) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            async with begun(engine, branch, kind) as task:
                closing = asyncio.ensure_future(engine.close())
                await asyncio.sleep(0.01)
            if kind == "logits":  # the step under way is its last
                await task
            else:
                with pytest.raises(ModelError, match="closed"):
                    await task
            await closing
            assert len(branch.tokens) == len(PROMPT)

    asyncio.run(body())


@call_kinds
def test_a_dead_thread_fails_the_call_and_every_later_one(kind: str) -> None:
    def boom(*_: object) -> Tensor:
        raise ZeroDivisionError("boom")

    async def body() -> None:
        async with engine_of(step_tokens=3) as engine:
            branches = [await engine.open(PROMPT, path=PATH.child(i)) for i in range(3)]
            runner: Any = engine.core.runner  # there is no honest way to make it fail
            runner.hidden = boom
            tasks = [asyncio.ensure_future(CALLS[kind](branch)) for branch in branches]
            async with asyncio.timeout(20):
                found = await asyncio.gather(*tasks, return_exceptions=True)
            for error in found:
                assert isinstance(error, ModelError)
                assert isinstance(error.__cause__, ZeroDivisionError)
            for branch in branches:
                assert len(branch.tokens) == len(PROMPT)
                with pytest.raises(ModelError, match="boom"):
                    await CALLS[kind](branch)
                branch.close()

    asyncio.run(body())


@call_kinds
def test_weights_that_are_not_finite_fail_the_call_that_meets_them(kind: str) -> None:
    weights = dict(TORCH.weights)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], torch.nan)

    async def body() -> None:
        async with engine_of(replace(TORCH, weights=weights)) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            if kind == "append":
                await branch.append("x")
                kept = len(PROMPT) + 1
            else:
                with pytest.raises(ModelError, match="not finite"):
                    await CALLS[kind](branch)
                kept = len(PROMPT)
            assert len(branch.tokens) == kept
            stats = engine.stats()
            assert stats.computed == accounted(stats)

    asyncio.run(body())


@call_kinds
def test_a_pool_too_small_for_the_call_is_told_and_the_branch_lives(kind: str) -> None:
    async def body() -> None:
        async with engine_of(pages=4) as engine:
            branch = await engine.open(PROMPT, path=PATH)
            if kind in ("extend", "stream", "append", "score"):
                with pytest.raises(PoolExhausted, match=r"pool has 4.*more pages"):
                    await CALLS[kind](branch)
            else:
                await CALLS[kind](branch)
            assert len(branch.tokens) == len(PROMPT)
            assert (await branch.extend(Sampling(max_tokens=2))).tokens

    asyncio.run(body())


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (5, 2), (0, 99)])
def test_spans_that_do_not_exist_are_refused(start: int, stop: int) -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            with pytest.raises(InputError, match=f"{start} to {stop} .*stop <= 6"):
                await branch.span_logits(start, stop)
            for bad in (-1, 6, 99):
                for call in (branch.read("reward", bad), branch.embed("mean", bad)):
                    with pytest.raises(InputError, match=f"{bad} to 6 .*has 6"):
                        await call
            pooling: Any = "max"
            with pytest.raises(InputError, match=r"'max'.*last, mean"):
                await branch.embed(pooling)

    asyncio.run(body())
