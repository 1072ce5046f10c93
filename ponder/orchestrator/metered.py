"""Engines and branches as strategies see them: every call is reserved for, limited, timed out,
paid and recorded. The only place that calls models.

A reservation is made before the call waits for its turn, in the order in which calls are asked for.
Knows nothing of strategies; one `Meter` serves one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.orchestrator.calls import (
    Call,
    Meter,
)
from ponder.orchestrator.ledger import Account
from ponder.orchestrator.metered_branch import MeteredBranch
from ponder.runtime import (
    Branch,
    BranchPath,
    Capabilities,
    Engine,
    EngineStats,
    Prompt,
    Standing,
    Vocabulary,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeteredEngine:
    """An engine as one node sees it. Its clock starts at 0 with the run."""

    engine: Engine
    meter: Meter
    account: Account
    started: float
    """On the engine's own clock."""

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> MeteredBranch:
        call = Call(meter=self.meter, account=self.account, path=path, sequence=0, kind="open")
        tokens = self.engine.count(prompt)
        grant = await call.reserve(tokens, least=tokens)
        try:
            async with call.within(self.clock()):
                inner = await self.engine.open(
                    prompt, path=path, priority=priority, adapter=adapter
                )
        except BaseException:
            self.meter.ledger.release(grant)
            raise
        call.settle(grant, inner.usage, {})
        return MeteredBranch(inner, self)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> MeteredBranch:
        """What is given again was paid for once: it is recorded, but no budget counts it."""
        path = standing.path
        call = Call(meter=self.meter, account=self.account, path=path, sequence=0, kind="reopen")
        async with call.within(self.clock()):
            inner = await self.engine.reopen(prompt, standing, priority=priority, adapter=adapter)
        call.settle(None, inner.usage, {})
        return MeteredBranch(inner, self)

    def count(self, prompt: Prompt) -> int:
        return self.engine.count(prompt)

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        return self.engine.encode(prompt, bare=bare)

    def vocabulary(self) -> Vocabulary:
        return self.engine.vocabulary()

    def spell(self, tokens: Sequence[int]) -> str:
        return self.engine.spell(tokens)

    def clock(self) -> float:
        return self.engine.clock() - self.started

    def stats(self) -> EngineStats:
        return self.engine.stats()

    async def close(self) -> None:
        await self.engine.close()

    def lent(self, branch: Branch) -> MeteredBranch:
        """A fork, paid by this account, of a branch that another one pays for."""
        return MeteredBranch(MeteredBranch.inside(branch.fork(1))[0], self)

    def deadline(self, asked: float | None) -> float | None:
        """The earlier of what was asked and the budget's, on the engine's own clock."""
        ends = [end for end in (asked, self.meter.seconds) if end is not None]
        return min(ends) + self.started if ends else None
