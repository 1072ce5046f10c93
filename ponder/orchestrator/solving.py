"""The two doors: `Runtime.solve`, async, many at once under one concurrency limit; and `solve`, a
thin synchronous one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.calls import Meter
from ponder.orchestrator.checking import check
from ponder.orchestrator.context import Run
from ponder.orchestrator.expression import Expression
from ponder.orchestrator.files import check_writable
from ponder.orchestrator.flow import cause, execute
from ponder.orchestrator.forms import asked
from ponder.orchestrator.ledger import Ledger
from ponder.orchestrator.naming import name_of, nodes
from ponder.orchestrator.planning import Plan, by_role, plan
from ponder.orchestrator.recorder import OnEvent, Recorder
from ponder.orchestrator.result import Result
from ponder.orchestrator.saving import SavedRun, Saver, begun
from ponder.orchestrator.summary import summary, written
from ponder.orchestrator.trace import Event
from ponder.runtime import Engine, InputError, PonderError, open_engine
from ponder.verifiers import Equivalence, ExactEquivalence, Potential, Question, SameJson

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
        potentials: Mapping[str, Potential] | None = None,
    ) -> None:
        """Engines stay their owner's: close them yourself, or call `close`.

        Args:
            engines: by role, such as "policy"; one alone is the policy.
            equivalence: says which answers are the same.
            concurrency: calls that run at once, over all questions.
            potentials: what `predicate(name)` means, by name.
        """
        if concurrency < 1:
            raise InputError(f"concurrency is {concurrency!r}; it must be at least 1")
        self._engines = by_role(engines)
        if not self._engines:
            raise InputError("a Runtime has no engines; give at least one, as role 'policy'")
        self._equivalence = equivalence
        self._potentials = dict(potentials or {})
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
        named = self._potentials
        return plan(strategy, self._engines, question=question, budget=budget, potentials=named)

    async def solve(
        self,
        question: str | Question,
        strategy: Expression,
        *,
        budget: Budget | None = None,
        seed: int | None = None,
        trace: Path | None = None,
        on_event: OnEvent | None = None,
        save_search: Path | None = None,
        resume: Path | None = None,
        answer: type[BaseModel] | Mapping[str, object] | None = None,
    ) -> Result:
        """Answer one question.

        Args:
            question: what to answer.
            strategy: how.
            budget: what this question may cost; None is no limit, or the resumed run's.
            seed: None draws one, or takes the resumed run's; the result says which.
            trace: where to write the trace, as JSON lines.
            on_event: told each event when it happens, in that order.
            save_search: where to keep what the searches have come to (docs/search.md).
            resume: such a file, from which its searches go on.
            answer: the form that the answer must have, a pydantic model or a JSON Schema: all
                replies are held to it (docs/constraints.md). None is free text.

        Raises:
            InputError: something given cannot be used; no token was spent.
            ModelError: an engine failed; every branch is closed.
            PonderError: the trace or the searches could not be written.
        """
        for path, what in ((trace, "trace"), (save_search, "search")):
            check_writable(path, what)
        put = asked(question, answer)
        whole = check(strategy, self._engines, put, self._potentials)
        saved = begun(
            resume,
            question=put,
            strategy=written(strategy),
            engines=self.models,
            seed=seed,
            budget=budget,
        )
        run = self._begin(saved, strategy, whole, on_event, save_search)
        await _executed(run, whole)
        result = summary(run, strategy, saved.budget)
        if trace is not None:
            _keep(result, trace)
        return result

    def _begin(
        self,
        saved: SavedRun,
        strategy: Expression,
        whole: Expression,
        on_event: OnEvent | None,
        save_search: Path | None,
    ) -> Run:
        question, budget = saved.question, saved.budget
        order = {name_of(node): place for place, node in enumerate(nodes(whole))}
        started = {role: e.clock() - saved.seconds for role, e in self._engines.items()}
        role, clock = next((r, e.clock) for r, e in self._engines.items())
        limited = budget.tokens is not None or budget.calls is not None
        ledger = Ledger(budget)
        saver = Saver(save_search, saved, ledger, lambda: clock() - started[role])

        def hear(event: Event) -> None:
            saver.hear(event)
            if on_event is not None:
                on_event(event)

        meter = Meter(
            ledger=ledger,
            slots=self._slots,
            recorder=Recorder(order, lambda: clock() - started[role], hear),
            seconds=budget.seconds,
        )
        return Run(
            question=question,
            seed=saved.seed,
            engines=self._engines,
            started=started,
            meter=meter,
            potentials=self._potentials,
            equivalence=self._equivalence if question.form is None else SameJson(),
            streaming=not limited or not self.plan(strategy, question, budget=budget).may_bind,
            order=order,
            saver=saver,
            before=dict(saved.nodes),
        )


def _keep(result: Result, trace: Path) -> None:
    try:
        result.trace.write(trace)
    except PonderError as error:
        error.add_note(f"the answer was {result.answer!r}, with seed {result.seed}")
        raise


async def _executed(run: Run, whole: Expression) -> None:
    """To the end, or to a failure; branches are closed, and what searches came to is kept."""
    failure: BaseException | None = None
    try:
        await execute(run, whole)
    except BaseExceptionGroup as group:
        failure = cause(group)
    finally:
        run.meter.close()
        run.saver.write()
    if failure is not None:
        raise failure


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
    save_search: Path | None = None,
    resume: Path | None = None,
    concurrency: int = 64,
    answer: type[BaseModel] | Mapping[str, object] | None = None,
    potentials: Mapping[str, Potential] | None = None,
) -> Result:
    """`Runtime.solve` for callers that are not async; inside a running loop, on its own thread.

    Args:
        question: what to answer.
        strategy: how.
        engine: one, or several by role; None opens the embedded model for this one call.
        equivalence: says which answers are the same; None compares their canonical texts.
        budget: what it may cost; None is no limit, or the resumed run's.
        seed: None draws one, or takes the resumed run's; the result says which.
        trace: where to write the trace, as JSON lines.
        on_event: told each event when it happens.
        save_search: where to keep what the searches have come to (docs/search.md).
        resume: such a file, from which its searches go on.
        concurrency: engine calls that run at once.
        answer: the form that the answer must have; see `Runtime.solve`.
        potentials: what `predicate(name)` means, by name.
    """
    put = asked(question, answer)

    def ask(runtime: Runtime) -> Awaitable[Result]:
        return runtime.solve(
            put,
            strategy,
            budget=budget,
            seed=seed,
            trace=trace,
            on_event=on_event,
            save_search=save_search,
            resume=resume,
        )

    same = equivalence or ExactEquivalence()
    return _waited(_answered(ask, engine, same, concurrency, potentials))


def _waited(answered: Coroutine[Any, Any, Result]) -> Result:  # Any: as asyncio.run has it
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(answered)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, answered).result()


async def _answered(
    ask: Callable[[Runtime], Awaitable[Result]],
    engine: Engine | Mapping[str, Engine] | None,
    equivalence: Equivalence,
    concurrency: int,
    potentials: Mapping[str, Potential] | None,
) -> Result:
    engines = open_engine() if engine is None else engine
    runtime = Runtime(
        engines, equivalence=equivalence, concurrency=concurrency, potentials=potentials
    )
    try:
        return await ask(runtime)
    finally:
        if engine is None:
            await runtime.close()
