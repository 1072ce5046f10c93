"""One account: nothing is overspent, whatever the interleaving, and who gets what is a function of
the order of requests alone.
"""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.orchestrator import Budget
from ponder.orchestrator.ledger import Account, Ledger
from ponder.runtime import BudgetExceeded, InputError, Usage

ACCOUNT = Account(node="sample", role="policy", purpose="policy")

# (asked, least as a share of asked, used as a share of the grant, pauses before settling)
requests = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.integers(0, 6)),
    min_size=1,
    max_size=12,
)


def spend(
    budget: Budget, asked: list[tuple[int, float, float, int]], calls: int
) -> tuple[list[int | None], Ledger]:
    """What each request got (None: refused), all made in order, settled after their own pauses."""

    async def one(
        ledger: Ledger, tokens: int, least: float, used: float, pauses: int
    ) -> int | None:
        try:
            grant = await ledger.reserve(tokens, least=max(1, round(least * tokens)), calls=calls)
        except BudgetExceeded:
            return None
        for _ in range(pauses):
            await asyncio.sleep(0)
        ledger.settle(grant, ACCOUNT, Usage(decoded=round(used * grant.tokens)))
        return grant.tokens

    async def run() -> tuple[list[int | None], Ledger]:
        ledger = Ledger(budget)
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(one(ledger, *r)) for r in asked]
        return [job.result() for job in jobs], ledger

    return asyncio.run(run())


@settings(deadline=None)
@given(requests, st.integers(1, 120), st.permutations(range(12)))
def test_grants_follow_from_the_order_of_requests_alone(
    asked: list[tuple[int, float, float, int]], tokens: int, shuffled: list[int]
) -> None:
    left, expected = tokens, list[int | None]()
    for wanted, least, used, _ in asked:
        got = min(wanted, left)
        expected.append(got if got >= max(1, round(least * wanted)) else None)
        left -= round(used * (expected[-1] or 0))
    got_now, ledger = spend(Budget(tokens=tokens), asked, calls=0)
    other_times = [(*r[:3], pause) for r, pause in zip(asked, shuffled, strict=False)]
    assert got_now == spend(Budget(tokens=tokens), other_times, calls=0)[0] == expected
    assert ledger.total().usage.tokens == tokens - left <= tokens


@settings(deadline=None)
@given(requests, st.integers(1, 12))
def test_calls_run_out_in_order(asked: list[tuple[int, float, float, int]], calls: int) -> None:
    got, ledger = spend(Budget(calls=calls), asked, calls=1)
    assert [g is not None for g in got] == [i < calls for i in range(len(asked))]
    assert ledger.total("policy").calls == min(calls, len(asked))
    assert ledger.total("verifier").calls == 0


def test_a_cancelled_request_gives_everything_back() -> None:
    async def run() -> tuple[int, float]:
        ledger = Ledger(Budget(tokens=10))
        first = await ledger.reserve(8, least=8)
        waiting = asyncio.create_task(ledger.reserve(5, least=1))
        behind = asyncio.create_task(ledger.reserve(2, least=2))
        await asyncio.sleep(0)
        assert not behind.done(), "first come, first served, even where it would fit"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        second = await behind
        ledger.release(second)
        ledger.settle(first, ACCOUNT, Usage(decoded=3))
        return (await ledger.reserve(7, least=7)).tokens, ledger.total().calls

    assert asyncio.run(run()) == (7, 0)


def test_cancelled_in_the_moment_of_its_grant() -> None:
    async def run() -> int:
        ledger = Ledger(Budget(tokens=10))
        first = await ledger.reserve(10, least=10)
        waiting = asyncio.create_task(ledger.reserve(10, least=10))
        await asyncio.sleep(0)
        ledger.release(first)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return (await ledger.reserve(10, least=10)).tokens

    assert asyncio.run(run()) == 10


@pytest.mark.parametrize("limit", ["tokens", "seconds", "calls"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_budgets_are_above_zero(limit: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{limit} is {value}; it must be above 0"):
        Budget(**{limit: value})  # type: ignore[arg-type]  # that is the point
