"""Random programs of branch operations, run on an engine and on the dense model side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from dense import Dense, DenseBranch, Floats
from hypothesis import strategies as st
from tiny_llama import CONFIG, tiny
from torch import Tensor

from ponder.runtime import (
    BranchPath,
    InputError,
    PoolExhausted,
    Sampling,
    SpliceMode,
    Usage,
)
from ponder.runtime.engine.branch import LocalBranch
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.engine.spans import Span
from ponder.runtime.models.config import LoadedModel
from ponder.runtime.runners.api import Slots
from ponder.runtime.runners.plan import common
from ponder.runtime.runners.torch_runner import TorchRunner

SHAPE = replace(
    CONFIG, hidden=32, intermediate=32, heads=2, kv_heads=1, head_dim=16, context_length=256
)
MODEL = tiny(SHAPE, ends=False, spread=0.2)
LONGEST = 70
"""Tokens a branch grows to, so that each fits the pool alone, its sources too."""
PAGES = 22
MODES = list(SpliceMode)

Op = tuple[str, int, int, int]
NAMES = ["open", "fork", "extend", "append", "rewind", "splice", "join", "score", "together"]
NAMES += ["extend", "splice", "cancel", "close", "share", "pin"]
programs = st.lists(
    st.tuples(st.sampled_from(NAMES), *[st.integers(0, 1_000)] * 3), min_size=3, max_size=14
)


@dataclass(eq=False)
class Pair:
    branch: LocalBranch
    dense: DenseBranch
    parent: Pair | None
    pins: int = 0


class Program:
    """One engine with a small pool, and what its branches must be."""

    def __init__(self, kernels: Any, model: LoadedModel = MODEL) -> None:
        self.engine = LocalEngine(model, pages=PAGES, threads=1, step_tokens=40, kernels=kernels)
        self.watch = Watch(self.engine)
        self.dense = Dense(model)
        self.pairs: list[Pair] = []
        self.usage = Usage()
        self.counter = 0

    async def run(self, ops: Sequence[Op]) -> None:
        try:
            await self.open(3, 20, 1)
            for name, a, b, c in ops:
                if self.pairs or name == "open":
                    await self.do(name, a, b, c)
            for pair in self.pairs:
                await self.check(pair)
            self.reconcile()
            await self.leave_nothing()
            assert not self.watch.errors
        finally:
            await self.engine.close()

    async def do(self, name: str, a: int, b: int, c: int) -> None:
        if name == "open":
            await self.open(a, b, c)
            return
        pair = self.pairs[a % len(self.pairs)]
        action: Callable[[Pair, int, int], Any] = getattr(self, name)
        try:
            await action(pair, b, c)
        except PoolExhausted:
            assert any(each.pins or each.dense.live for each in self.pairs), "it fits alone"
        assert list(pair.branch.tokens) == pair.dense.tokens

    async def open(self, a: int, b: int, c: int) -> None:
        text = self.text(1 + b % 40, c % 3)
        self.counter += 1
        with suppress(PoolExhausted):
            branch = await self.engine.open(
                text, path=BranchPath(1).child(self.counter), priority=a % 3
            )
            dense = DenseBranch.open(self.dense, list(text.encode()))
            self.pairs.append(Pair(branch, dense, None))

    async def fork(self, pair: Pair, b: int, c: int) -> None:
        if len(self.pairs) < 8:
            for child in pair.branch.fork(1 + b % 3):
                self.pairs.append(Pair(child, pair.dense.fork(), pair))

    async def extend(self, pair: Pair, b: int, c: int) -> None:
        await self.draw([pair], 1 + b % 6)

    async def together(self, pair: Pair, b: int, c: int) -> None:
        """Several at once; live ones would see more or less of each other, as it happens."""
        await self.draw([each for each in self.pairs if not each.dense.live], 1 + b % 5)

    async def append(self, pair: Pair, b: int, c: int) -> None:
        text = self.text(b % 20, c)
        if self.fits(pair, len(text)):
            await pair.branch.append(text)
            pair.dense.feed(list(text.encode()))

    async def rewind(self, pair: Pair, b: int, c: int) -> None:
        to = 1 + b % len(pair.branch.tokens)
        pair.branch.rewind(to)
        pair.dense.rewind(to)

    async def splice(self, pair: Pair, b: int, c: int) -> None:
        total = len(pair.branch.tokens)
        start = b % (total + 1)
        stop = start + c % (total + 1 - start)
        text = self.text(c % 7 if c % 2 else 0, b)
        mode = self.mode(b + c)
        if not self.fits(pair, len(text)) or not (total - stop + start + len(text)):
            return
        if pair.dense.live:
            with_error = pair.branch.splice(start, stop, text, mode)
            await refused(with_error)
            return
        await pair.branch.splice(start, stop, text, mode)
        pair.dense.splice(start, stop, list(text.encode()), mode)

    async def join(self, pair: Pair, b: int, c: int) -> None:
        forks = [each for each in self.pairs if each.parent is pair]
        forks = forks[b % 2 :][:3]
        mode = self.mode(c)
        size = sum(len(each.branch.tail) for each in forks)
        if not self.fits(pair, size):
            return
        joined = pair.branch.join([each.branch for each in forks], mode)
        if mode is not SpliceMode.REENCODE and any(e.dense.live for e in (pair, *forks)):
            await refused(joined)
            return
        await joined
        pair.dense.join([each.dense for each in forks], mode)

    async def score(self, pair: Pair, b: int, c: int) -> None:
        text = self.text(1 + b % 5, c)
        (scored,) = await pair.branch.score([text])
        twin = pair.dense.fork()
        for token, logprob in zip(scored.tokens, scored.logprobs, strict=True):
            close_to(logprob, log_softmax(advance(twin, token))[token])

    async def share(self, pair: Pair, b: int, c: int) -> None:
        kin = [e for e in self.pairs if e is not pair and e.parent is pair.parent is not None]
        if kin and self.engine.capabilities.live_views:
            kin = kin[: 1 + b % 2]
            pair.branch.share([each.branch for each in kin])
            pair.dense.share([each.dense for each in kin])

    async def pin(self, pair: Pair, b: int, c: int) -> None:
        if pair.pins:
            pair.branch.unpin()
        else:
            pair.branch.pin()
        pair.pins = 1 - pair.pins

    async def close(self, pair: Pair, b: int, c: int) -> None:
        pair.branch.close()
        self.usage += pair.branch.usage
        self.pairs.remove(pair)

    async def cancel(self, pair: Pair, b: int, c: int) -> None:
        """Cut some call short: it happened, or it did not."""
        name = ("append", "splice", "join")[b % 3]
        before = pair.dense
        action: Callable[[Pair, int, int], Any] = getattr(self, name)
        task = asyncio.ensure_future(action(pair, b, c))
        for _ in range(c % 5):
            await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert pair.dense is before

    async def draw(self, pairs: Sequence[Pair], count: int) -> None:
        pairs = [pair for pair in pairs if self.fits(pair, count)]
        extends = [pair.branch.extend(Sampling(max_tokens=count)) for pair in pairs]
        results = await asyncio.gather(*extends, return_exceptions=True)
        for pair, result in zip(pairs, results, strict=True):
            if isinstance(result, BaseException):
                assert isinstance(result, PoolExhausted), result
                continue
            for token, logprob in zip(result.tokens, result.logprobs, strict=True):
                close_to(logprob, log_softmax(advance(pair.dense, token))[token])
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def check(self, pair: Pair) -> None:
        """The next token's distribution."""
        assert list(pair.branch.tokens) == pair.dense.tokens
        assert list(pair.branch.tail) == pair.dense.tokens[pair.dense.own :]
        with suppress(PoolExhausted):
            got = np.asarray(await pair.branch.logits())
            np.testing.assert_allclose(
                log_softmax(got), log_softmax(pair.dense.logits()), rtol=0, atol=1e-3
            )

    def reconcile(self) -> None:
        total, stats = self.usage, self.engine.stats()
        for pair in self.pairs:
            total += pair.branch.usage
        assert total.prompt == stats.prefilled + stats.cached
        assert (total.cached, total.scored) == (stats.cached, stats.scored)
        assert total.decoded == stats.decoded

    async def leave_nothing(self) -> None:
        """Closed branches hold nothing, and the tree holds what it can give back."""
        for pair in self.pairs:
            pair.branch.close()
        pool, tree = self.engine.core.pool, self.engine.core.tree
        await obeyed(self.engine, lambda: tree.evict(pool.total, all_leaves=True))
        assert (pool.held, pool.free) == (0, PAGES)

    def text(self, size: int, seed: int) -> str:
        return "".join("abcdefgh"[(seed + i * i + size) % 8] for i in range(size))

    def mode(self, number: int) -> SpliceMode:
        mode = MODES[number % 3]
        return mode if mode in self.engine.capabilities.splice else SpliceMode.REENCODE

    def fits(self, pair: Pair, more: int) -> bool:
        return len(pair.branch.tokens) + more <= LONGEST


class Watch:
    """Looks over the engine's shoulder: what somebody sees before a step, and still sees after it,
    is unchanged.
    """

    def __init__(self, engine: LocalEngine) -> None:
        self._core = core = engine.core
        self._step = core.step
        runner = core.runner
        self._keys: Callable[[], Tensor] | None = None
        if isinstance(runner, TorchRunner) and (memory := runner.memory):
            self._keys = lambda: memory.keys
        self.errors: list[str] = []
        vars(core)["step"] = self.step

    def step(self) -> None:
        before = self._visible()
        self._step()
        after = self._visible()
        for holder, (places, keys) in before.items():
            if holder in after:
                now, changed = after[holder]
                same = common(places, now)
                if not np.allclose(keys[:, :, :same], changed[:, :, :same], atol=1e-3):
                    self.errors.append(f"{holder} changed")

    def _visible(self) -> dict[object, tuple[Slots, Any]]:
        """Places and keys of all views and edges."""
        if self._keys is None:
            return {}
        keys = self._keys().numpy()
        views = [view for lane in self._core.lanes() for view in lane.views]
        seen: dict[object, Sequence[Span]] = {view: view.spans for view in views}
        seen |= {id(spans): spans for _, spans in self._core.tree.nodes()}
        result: dict[object, tuple[Slots, Any]] = {}
        for holder, spans in seen.items():
            places = np.concatenate([np.empty(0, np.int64), *(span.slots() for span in spans)])
            result[holder] = (places, keys[:, :, places])
        return result


async def obeyed(engine: LocalEngine, command: Callable[[], object]) -> None:
    done = threading.Event()

    def run() -> None:
        command()
        done.set()

    engine.thread.post(run)
    await asyncio.to_thread(done.wait, 10)


async def refused(call: Any) -> None:
    with pytest.raises(InputError, match="shares others"):
        await call


def advance(branch: DenseBranch, token: int) -> Floats:
    """Logits before `token`, which is then the branch's last."""
    row = branch.row()
    (logits,) = branch.model.step([row])
    branch.take(row.cell, token)
    return logits


def log_softmax(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max()
    result: Floats = shifted - np.log(np.exp(shifted).sum())
    return result


def close_to(got: float, want: float) -> None:
    assert abs(got - want) < 1e-3, (got, want)
