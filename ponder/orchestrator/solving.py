"""The two doors: `Runtime.solve`, async, many at once under one concurrency limit; and `solve`, a
thin synchronous one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.calls import Meter
from ponder.orchestrator.checking import check
from ponder.orchestrator.context import Run
from ponder.orchestrator.expression import Expression
from ponder.orchestrator.flow import cause, execute
from ponder.orchestrator.forms import asked
from ponder.orchestrator.ledger import Ledger
from ponder.orchestrator.naming import name_of, nodes
from ponder.orchestrator.planning import Plan, by_role, plan
from ponder.orchestrator.recorder import OnEvent, Recorder
from ponder.orchestrator.result import Result
from ponder.orchestrator.summary import summary
from ponder.orchestrator.trace import check_writable
from ponder.runtime import Engine, InputError, PonderError, open_engine
from ponder.verifiers import Equivalence, ExactEquivalence, Question, SameJson

if TYPE_CHECKING:
    from pydantic import BaseModel


class Runtime:
    """Engines by role, and a limit on how many of their calls run at once."""

    def __init__(
        self,
        engines: Engine | Mapping[str, Engine],
        *,
        equivalence: Equivalence,
        concurrency: int = 64,
    ) -> None:
        """Engines stay their owner's: close them yourself, or call `close`.

        Args:
            engines: by role, such as "policy"; one alone is the policy.
            equivalence: says which answers are the same.
            concurrency: calls that run at once, over all questions.
        """
        if concurrency < 1:
            raise InputError(f"concurrency is {concurrency!r}; it must be at least 1")
        self._engines = by_role(engines)
        if not self._engines:
            raise InputError("a Runtime has no engines; give at least one, as role 'policy'")
        self._equivalence = equivalence
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)

    @property
    def equivalence(self) -> Equivalence:
        return self._equivalence

    @property
    def concurrency(self) -> int:
        """Calls that run at once, at most."""
        return self._concurrency

    @property
    def models(self) -> dict[str, str]:
        """Names of the engines, by role."""
        return {role: engine.name for role, engine in self._engines.items()}

    @property
    def engines(self) -> Mapping[str, Engine]:
        """By role."""
        return self._engines

    async def close(self) -> None:
        """Close all engines."""
        for engine in self._engines.values():
            await engine.close()

    def plan(
        self,
        strategy: Expression,
        question: Question | None = None,
        *,
        budget: Budget | None = None,
    ) -> Plan:
        """Check a strategy against the engines and add up what it costs at most.

        Raises:
            InputError: it cannot run on them; says why.
        """
        return plan(strategy, self._engines, question=question, budget=budget)

    async def solve(
        self,
        question: str | Question,
        strategy: Expression,
        *,
        budget: Budget | None = None,
        seed: int | None = None,
        trace: Path | None = None,
        on_event: OnEvent | None = None,
        answer: type[BaseModel] | Mapping[str, object] | None = None,
    ) -> Result:
        """Answer one question.

        Args:
            question: what to answer.
            strategy: how.
            budget: what this question may cost; None is no limit.
            seed: None draws one; the result says which.
            trace: where to write the trace, as JSON lines.
            on_event: told each event when it happens, in that order.
            answer: the form that the answer must have, a pydantic model or a JSON Schema: all
                replies are held to it (docs/constraints.md). None is free text.

        Raises:
            InputError: something given cannot be used; no token was spent.
            ModelError: an engine failed; every branch is closed.
            PonderError: the trace could not be written.
        """
        put = asked(question, answer)
        if trace is not None:
            check_writable(trace)
        whole, limits = check(strategy, self._engines, put), budget or Budget()
        run = self._begin(put, strategy, whole, limits, seed, on_event)
        failure: BaseException | None = None
        try:
            await execute(run, whole)
        except BaseExceptionGroup as group:
            failure = cause(group)
        finally:
            run.meter.close()
        if failure is not None:
            raise failure
        result = summary(run, strategy, limits)
        if trace is not None:
            try:
                result.trace.write(trace)
            except PonderError as error:
                error.add_note(f"the answer was {result.answer!r}, with seed {result.seed}")
                raise
        return result

    def _begin(
        self,
        question: Question,
        strategy: Expression,
        whole: Expression,
        budget: Budget,
        seed: int | None,
        on_event: OnEvent | None,
    ) -> Run:
        order = {name_of(node): place for place, node in enumerate(nodes(whole))}
        started = {role: engine.clock() for role, engine in self._engines.items()}
        role, clock = next((r, e.clock) for r, e in self._engines.items())
        limited = budget.tokens is not None or budget.calls is not None
        meter = Meter(
            ledger=Ledger(budget),
            slots=self._slots,
            recorder=Recorder(order, lambda: clock() - started[role], on_event),
            seconds=budget.seconds,
        )
        return Run(
            question=question,
            seed=secrets.randbits(53) if seed is None else seed,
            engines=self._engines,
            started=started,
            meter=meter,
            equivalence=self._equivalence if question.form is None else SameJson(),
            streaming=not limited
            or not plan(strategy, self._engines, question=question, budget=budget).may_bind,
            order=order,
        )


def solve(
    question: str | Question,
    strategy: Expression,
    *,
    engine: Engine | Mapping[str, Engine] | None = None,
    equivalence: Equivalence | None = None,
    budget: Budget | None = None,
    seed: int | None = None,
    trace: Path | None = None,
    on_event: OnEvent | None = None,
    concurrency: int = 64,
    answer: type[BaseModel] | Mapping[str, object] | None = None,
) -> Result:
    """`Runtime.solve` for callers that are not async; works inside a running loop, on a thread of
    its own.

    Args:
        question: what to answer.
        strategy: how.
        engine: one, or several by role; None opens the embedded model for this one call.
        equivalence: says which answers are the same; None compares their canonical texts.
        budget: what it may cost; None is no limit.
        seed: None draws one; the result says which.
        trace: where to write the trace, as JSON lines.
        on_event: told each event when it happens.
        concurrency: engine calls that run at once.
        answer: the form that the answer must have; see `Runtime.solve`.
    """
    put = asked(question, answer)

    async def run() -> Result:
        engines = open_engine() if engine is None else engine
        runtime = Runtime(
            engines, equivalence=equivalence or ExactEquivalence(), concurrency=concurrency
        )
        try:
            return await runtime.solve(
                put, strategy, budget=budget, seed=seed, trace=trace, on_event=on_event
            )
        finally:
            if engine is None:
                await runtime.close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, run()).result()
