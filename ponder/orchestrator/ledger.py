"""One account of tokens and calls for a whole run: reserve before spending, settle after.

Requests are served strictly in the order they were made. One that does not fit waits; it gets less
than it asked for only when nothing is outstanding. So request k always gets min(asked, budget less
what requests before k really used): who gets what does not depend on who finishes first. Knows
nothing of engines, time or traces.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ponder.orchestrator.budget import Budget
from ponder.runtime import BudgetExceeded, Usage
from ponder.strategies import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who spends: a node, through an engine role, for itself or for its verifier."""

    node: str
    role: str
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    calls: int = 0
    usage: Usage = Usage()

    def __add__(self, other: Spent) -> Spent:
        return Spent(calls=self.calls + other.calls, usage=self.usage + other.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A reservation; settle it or release it, once."""

    tokens: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    tokens: int
    least: int
    calls: int
    answer: asyncio.Future[Grant]


class Ledger:
    """See the module."""

    def __init__(self, budget: Budget) -> None:
        self._tokens: float = float("inf") if budget.tokens is None else budget.tokens
        self._calls: float = float("inf") if budget.calls is None else budget.calls
        self._budget = budget
        self._outstanding = 0
        self._waiting: deque[_Request] = deque()
        self._paid: dict[Account, Spent] = {}
        self._beside: dict[Account, Spent] = {}

    @property
    def paid(self) -> Mapping[Account, Spent]:
        """Out of the budget."""
        return self._paid

    @property
    def beside(self) -> Mapping[Account, Spent]:
        """What no budget counts."""
        return self._beside

    def total(self, purpose: Purpose | None = None) -> Spent:
        return sum(
            (
                spent
                for account, spent in (*self._paid.items(), *self._beside.items())
                if purpose in (None, account.purpose)
            ),
            Spent(),
        )

    async def reserve(self, tokens: int, *, least: int, calls: int = 0) -> Grant:
        """Set aside `tokens`, or what is left if that is at least `least`.

        Raises:
            BudgetExceeded: less than `least` tokens, or no call, is left.
        """
        if not self._waiting and self._tokens >= tokens and self._calls >= calls:
            return self._grant(tokens, calls)
        answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        request = _Request(tokens=tokens, least=least, calls=calls, answer=answer)
        self._waiting.append(request)
        self._serve()
        try:
            return await answer
        except asyncio.CancelledError:
            self._forget(request)
            raise

    def settle(self, grant: Grant, account: Account, used: Usage) -> None:
        """Pay what was used; the rest of the grant is free again."""
        spent = Spent(calls=grant.calls, usage=used)
        self._paid[account] = self._paid.get(account, Spent()) + spent
        self._give_back(grant.tokens - used.tokens, 0)

    def note(self, account: Account, spent: Spent) -> None:
        """What no budget counts."""
        self._beside[account] = self._beside.get(account, Spent()) + spent

    def paid_before(self, account: Account, spent: Spent, *, binds: bool) -> None:
        """What an earlier part of this run paid out of the same budget. One that cannot bind is not
        asked: what was drawn in vain and is drawn again may not make it.
        """
        self._paid[account] = self._paid.get(account, Spent()) + spent
        if binds:
            self._tokens -= spent.usage.tokens
            self._calls -= spent.calls

    def release(self, grant: Grant) -> None:
        """Give back a grant of which nothing was used."""
        self._give_back(grant.tokens, grant.calls)

    def _grant(self, tokens: int, calls: int) -> Grant:
        self._tokens -= tokens
        self._calls -= calls
        self._outstanding += 1
        return Grant(tokens=tokens, calls=calls)

    def _give_back(self, tokens: int, calls: int) -> None:
        self._tokens += tokens
        self._calls += calls
        self._outstanding -= 1
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._decide(self._waiting[0]):
            self._waiting.popleft()

    def _decide(self, request: _Request) -> bool:
        """Grant or refuse the first request in line; False when it has to wait."""
        if request.answer.cancelled():
            return True
        if self._tokens >= request.tokens and self._calls >= request.calls:
            request.answer.set_result(self._grant(request.tokens, request.calls))
        elif self._outstanding:
            return False
        elif self._tokens >= request.least and self._calls >= request.calls:
            request.answer.set_result(self._grant(int(self._tokens), request.calls))
        else:
            request.answer.set_exception(self._refusal(request))
        return True

    def _refusal(self, request: _Request) -> BudgetExceeded:
        if self._calls < request.calls:
            return BudgetExceeded(f"all {self._budget.calls} calls of the budget are spent")
        return BudgetExceeded(
            f"{self._tokens} of {self._budget.tokens} tokens of the budget are left; "
            f"this call needs {request.least}"
        )

    def _forget(self, request: _Request) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
            self._serve()
        elif not request.answer.cancelled() and request.answer.exception() is None:
            self.release(request.answer.result())
