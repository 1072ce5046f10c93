"""What can go wrong: pools too small, calls cancelled or closed under way, dead threads, broken
weights, users who forget to close.
"""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_llama import CONFIG, EOS, ByteTokenizer, tiny

from ponder.runtime import (
    BranchClosed,
    BranchPath,
    CapabilityError,
    ContextOverflow,
    Finish,
    InputError,
    ModelError,
    PoolExhausted,
    Sampling,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.engine.jobs import Prefill
from ponder.runtime.models.config import LoadedModel

PATH = BranchPath(3)
LONG = Sampling(max_tokens=400)
MODEL = tiny(ends=False)


@asynccontextmanager
async def engine_of(
    model: LoadedModel = MODEL, *, pages: int | None = 400, step_tokens: int = 512
) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(model, pages=pages, threads=1, step_tokens=step_tokens)
    try:
        yield engine
    finally:
        await engine.close()


async def under_way(engine: LocalEngine, steps: int) -> None:
    """Until the engine has made so many more steps."""
    goal = engine.stats().steps + steps
    while engine.stats().steps < goal:
        await asyncio.sleep(0.001)


async def many(pages: int, *, step_tokens: int = 512) -> tuple[list[tuple[float, ...]], int]:
    """50 branches with prompts that overlap in part; their tokens, and the preemptions. A model of
    small weights rounds to within 1e-7, so no draw falls on the other side of a border.
    """
    model = tiny(ends=False, spread=0.1)
    async with engine_of(model, pages=pages, step_tokens=step_tokens) as engine:

        async def one(i: int) -> tuple[float, ...]:
            prompt = "a common beginning " + "and more of it " * (i % 3) + str(i)
            branch = await engine.open(prompt, path=PATH.child(i), priority=i % 2)
            await branch.extend(Sampling(max_tokens=12))
            (child,) = branch.fork(1)
            await child.extend(Sampling(max_tokens=10 + i // 2))
            scored = await child.score(["once", "upon a time"])
            await branch.append("!")
            await branch.extend(Sampling(max_tokens=3))
            for each in (branch, child):
                each.close()
            return (*branch.tokens, *child.tokens, *(round(s.total, 2) for s in scored))

        tokens = await asyncio.gather(*(one(i) for i in range(50)))
        stats = engine.stats()
        assert stats.branches == 0
        assert stats.prefilled + stats.cached == 50 + sum(
            len("a common beginning " + "and more of it " * (i % 3) + str(i)) for i in range(50)
        )
        return list(tokens), stats.preempted


def test_a_tiny_pool_gives_the_same_tokens() -> None:
    async def body() -> None:
        want, none = await many(2000)
        got, preempted = await many(12)
        chunked, _ = await many(40, step_tokens=9)
        assert none == 0
        assert preempted > 0
        for one, other, third in zip(want, got, chunked, strict=True):
            assert other == pytest.approx(one, abs=0.02)
            assert third == pytest.approx(one, abs=0.02)

    asyncio.run(body())


def test_a_branch_that_cannot_fit_alone_is_refused_and_others_go_on() -> None:
    async def body() -> None:
        async with engine_of(pages=4) as engine:
            with pytest.raises(PoolExhausted, match="pool has 4"):
                await engine.open("x" * 70, path=PATH)
            branch = await engine.open("x" * 50, path=PATH)
            other = await engine.open("yes", path=PATH.child(1))
            with pytest.raises(PoolExhausted, match="pool has 4"):
                await branch.extend(LONG)
            assert len(branch.tokens) == 50
            assert branch.usage.decoded > 0
            assert len((await other.extend(Sampling(max_tokens=20))).tokens) == 20
            assert len((await branch.extend(Sampling(max_tokens=5))).tokens) == 5

    asyncio.run(body())


def test_cancelling_keeps_what_was_drawn() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            task = asyncio.create_task(branch.extend(LONG))
            await under_way(engine, 10)
            task.cancel()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            drawn = len(branch.tokens) - 6
            assert 5 < drawn < 400
            assert branch.usage.decoded == drawn == engine.stats().decoded
            await branch.extend(Sampling(max_tokens=30))
            fresh = await engine.open("prompt", path=PATH)
            await fresh.extend(Sampling(max_tokens=drawn + 30))
            assert fresh.tokens == branch.tokens

    asyncio.run(body())


def test_closing_ends_an_extend_as_cancelled_and_other_calls_as_closed() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            task = asyncio.create_task(branch.extend(LONG))
            await under_way(engine, 5)
            branch.close()
            segment = await task
            assert segment.finish is Finish.CANCELLED
            assert branch.tokens[6:] == segment.tokens
            other = await engine.open("prompt", path=PATH)
            scoring = asyncio.create_task(other.score(["x" * 300] * 4))
            await asyncio.sleep(0)
            other.close()
            with pytest.raises(BranchClosed):
                await scoring

    asyncio.run(body())


def test_one_call_at_a_time() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            task = asyncio.create_task(branch.extend(LONG))
            await under_way(engine, 2)
            with pytest.raises(InputError, match="another call"):
                await branch.extend(LONG)
            with pytest.raises(InputError, match="another call"):
                branch.fork(2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(branch.fork(2)) == 2

    asyncio.run(body())


def test_a_cancelled_append_or_open_leaves_nothing() -> None:
    async def body() -> None:
        async with engine_of(step_tokens=16) as engine:
            branch = await engine.open("prompt", path=PATH)
            task = asyncio.create_task(branch.append("x" * 300))
            await under_way(engine, 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(branch.tokens) == 6
            opening = asyncio.create_task(engine.open("y" * 300, path=PATH))
            await under_way(engine, 2)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            segment = await branch.extend(Sampling(max_tokens=9))
            fresh = await engine.open("prompt", path=PATH)
            assert (await fresh.extend(Sampling(max_tokens=9))).tokens == segment.tokens
            assert engine.stats().branches == 2

    asyncio.run(body())


def test_leaving_a_stream_commits_and_frees_the_branch_at_once() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            pieces = ""
            async for delta in branch.stream(LONG):
                pieces += delta.text
                if len(pieces) > 5:
                    break
            assert branch.text.startswith(pieces)
            assert branch.usage.decoded == len(branch.tokens) - 6
            assert (await branch.extend(Sampling(max_tokens=1))).tokens

    asyncio.run(body())


def test_a_dead_thread_fails_everybody_and_names_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> torch.Tensor:
        raise ZeroDivisionError("boom")

    async def body() -> None:
        engine = LocalEngine(MODEL, pages=100, threads=1)
        branches = [await engine.open("prompt", path=PATH.child(i)) for i in range(5)]
        tasks = [asyncio.create_task(branch.extend(LONG)) for branch in branches]
        await under_way(engine, 3)
        monkeypatch.setattr("ponder.runtime.runners.torch_llama.Llama.hidden", boom)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, ModelError)
            assert isinstance(result.__cause__, ZeroDivisionError)
        with pytest.raises(ModelError, match="boom"):
            await engine.open("prompt", path=PATH)
        with pytest.raises(ModelError, match="boom"):
            await branches[0].logits()
        assert len(branches[0].tokens) == 6
        await engine.close()

    asyncio.run(body())


def test_closing_the_engine_fails_calls_under_way_and_leaves_no_thread() -> None:
    async def body() -> None:
        engine = LocalEngine(MODEL, pages=100, threads=1)
        branch = await engine.open("prompt", path=PATH)
        task = asyncio.create_task(branch.extend(LONG))
        await under_way(engine, 3)
        await engine.close()
        with pytest.raises(ModelError, match="closed"):
            await task
        branch.close()

    asyncio.run(body())
    assert not [thread for thread in threading.enumerate() if "tiny" in thread.name]


def test_an_engine_dropped_without_close_stops_its_thread() -> None:
    engine = LocalEngine(MODEL, pages=10, threads=1)
    asyncio.run(engine.open("prompt", path=PATH))
    del engine
    gc.collect()
    assert not [thread for thread in threading.enumerate() if "tiny" in thread.name]


def test_nan_weights_fail_the_call_that_meets_them() -> None:
    weights = dict(MODEL.weights)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], math.nan)

    async def body() -> None:
        async with engine_of(replace(MODEL, weights=weights)) as engine:
            branch = await engine.open("prompt", path=PATH)
            with pytest.raises(ModelError, match="not finite"):
                await branch.extend(LONG)
            with pytest.raises(ModelError, match="not finite"):
                await branch.score(["x", "y"])
            assert len(branch.tokens) == 6

    asyncio.run(body())


def test_one_rotten_branch_does_not_spoil_the_batch() -> None:
    weights = dict(MODEL.weights)
    table = weights["model.embed_tokens.weight"].clone()
    table[ord("#")] = math.nan
    weights["model.embed_tokens.weight"] = table
    forbid = Sampling(max_tokens=20, bias=((ord("#"), -math.inf),))

    async def body() -> None:
        async with engine_of(MODEL) as engine:
            good = await engine.open("a good prompt", path=PATH)
            want = (await good.extend(forbid)).tokens
        async with engine_of(replace(MODEL, weights=weights)) as engine:
            rotten = await engine.open("a good prompt #", path=PATH)
            good = await engine.open("a good prompt", path=PATH)
            results = await asyncio.gather(
                rotten.extend(forbid), good.extend(forbid), return_exceptions=True
            )
            assert isinstance(results[0], ModelError)
            assert good.tokens[13:] == want

    asyncio.run(body())


def test_a_missing_weight_or_a_foreign_architecture_is_refused() -> None:
    weights = {k: v for k, v in MODEL.weights.items() if not k.endswith("down_proj.weight")}
    with pytest.raises(ModelError, match=r"layers.0.mlp.down_proj"):
        LocalEngine(replace(MODEL, weights=weights), pages=10)
    with pytest.raises(CapabilityError, match="'mamba'"):
        LocalEngine(replace(MODEL, config=replace(CONFIG, architecture="mamba")), pages=10)
    with pytest.raises(InputError, match="pages is 0"):
        LocalEngine(MODEL, pages=0)


def test_forbidding_everything_is_the_callers_fault() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            nothing = tuple((t, -math.inf) for t in range(CONFIG.vocabulary))
            with pytest.raises(InputError, match="forbidden"):
                await branch.extend(Sampling(max_tokens=2, bias=nothing))
            with pytest.raises(InputError, match="999"):
                await branch.extend(Sampling(max_tokens=2, bias=((999, 1.0),)))
            assert (await branch.extend(Sampling(max_tokens=2))).tokens

    asyncio.run(body())


def test_a_huge_prompt_is_refused_after_a_look_at_its_beginning() -> None:
    class Counting(ByteTokenizer):
        seen = 0

        def encode(self, text: str) -> list[int]:
            self.seen += len(text)
            return super().encode(text)

    tokenizer = Counting()

    async def body() -> None:
        async with engine_of(replace(MODEL, tokenizer=tokenizer)) as engine:
            with pytest.raises(ContextOverflow, match=r"more than 8192 tokens.*512"):
                await engine.open("y" * 1_000_000, path=PATH)
            with pytest.raises(InputError, match="empty"):
                await engine.open("", path=PATH)

    asyncio.run(body())
    assert tokenizer.seen < 10_000


def test_two_equal_prompts_opened_together_are_prefilled_once() -> None:
    async def body() -> None:
        async with engine_of(step_tokens=64) as engine:
            prompt = "all of them begin with this text. " * 9
            branches = await asyncio.gather(
                *(engine.open(prompt, path=PATH.child(i)) for i in range(8))
            )
            stats = engine.stats()
            assert stats.prefilled == len(prompt) + 7, "each one's last token is its own"
            assert sorted(b.usage.cached for b in branches) == [0, *[len(prompt) - 1] * 7]
            assert stats.steps == -(-(len(prompt) - 1) // 64)

    asyncio.run(body())


@pytest.mark.parametrize("together", [False, True])
def test_forks_that_are_given_one_token_compute_what_waited_once(together: bool) -> None:
    """The prompt's last token waits; all forks need it, and none is the first step of a decode."""

    async def body() -> None:
        async with engine_of() as engine:
            root = await engine.open("a prompt", path=PATH)
            before, forks = engine.stats(), root.fork(8)
            calls = [fork.append(said) for fork, said in zip(forks, "abcdefgh", strict=True)]
            if together:
                await asyncio.gather(*calls)
            else:
                for call in calls:
                    await call
            after = engine.stats()
            assert after.computed - before.computed == 1

    asyncio.run(body())


def test_a_dropped_branch_gives_its_pages_back() -> None:
    async def body() -> None:
        async with engine_of(pages=30) as engine:
            for i in range(20):
                branch = await engine.open(f"{i} " * 90, path=PATH)
                await branch.extend(Sampling(max_tokens=3))
                del branch
            gc.collect()
            assert engine.stats().branches == 0
            assert engine.stats().preempted == 0

    asyncio.run(body())


def test_characters_split_over_tokens_are_held_back_and_stop_strings_found_in_them() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            wanted = "naïve — 日本!".encode()

            async def forced(stop: Sequence[str]) -> tuple[list[str], Finish | None]:
                pieces: list[str] = []
                for token in wanted:
                    params = Sampling(
                        max_tokens=1, temperature=0, bias=((token, 1e6),), stop=tuple(stop)
                    )
                    deltas = [delta async for delta in branch.stream(params)]
                    pieces += [deltas[-1].text]
                return pieces, None

            await forced([])
            assert branch.text == wanted.decode()

    asyncio.run(body())


def test_eos_is_a_token_and_not_text() -> None:
    async def body() -> None:
        async with engine_of(tiny()) as engine:
            branch = await engine.open("prompt", path=PATH)
            segment = await branch.extend(Sampling(max_tokens=5, bias=((EOS, 1e6),)))
            assert (segment.tokens, segment.text) == ((EOS,), "")
            assert segment.finish is Finish.EOS
            assert segment.usage.decoded == 1
            more = await branch.extend(Sampling(max_tokens=2, bias=((EOS, -math.inf),)))
            assert len(more.tokens) == 2

    asyncio.run(body())


def test_a_deadline_cuts_a_decode_short() -> None:
    async def body() -> None:
        async with engine_of() as engine:
            branch = await engine.open("prompt", path=PATH)
            segment = await branch.extend(LONG, deadline=engine.clock() + 0.1)
            assert segment.finish is Finish.BUDGET
            assert 0 < len(segment.tokens) < 400

    asyncio.run(body())


def test_one_engine_serves_event_loops_one_after_the_other() -> None:
    engine = LocalEngine(MODEL, pages=100, threads=1)

    async def draw() -> tuple[int, ...]:
        branch = await engine.open("prompt", path=PATH)
        return (await branch.extend(Sampling(max_tokens=5))).tokens

    assert asyncio.run(draw()) == asyncio.run(draw())
    asyncio.run(engine.close())


def test_lanes_of_two_salts_share_no_kv() -> None:
    """What an adapter will bring: equal tokens whose KV is not equal."""

    async def body() -> None:
        async with engine_of() as engine:
            prompt = engine.tokenizer.encode("a prompt that both of them begin with, word by word")
            found: list[int] = []
            for ident, salt in enumerate(("poet", "judge", "poet"), start=1000):
                job = Prefill(len(prompt), 0, waits=1)
                opening = partial(engine.core.open, ident, prompt, 0, job, salt=salt)
                engine.thread.begin(opening, job)
                await job.finished()
                found.append(job.cached)
            assert found == [0, 0, len(prompt) - 1]
            branch = await engine.open(engine.tokenizer.decode(prompt), path=PATH)
            assert branch.usage.cached == 0

    asyncio.run(body())
