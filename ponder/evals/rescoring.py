"""Judges again, or votes again, on what a run sampled: no sample is drawn anew.

A strategy's sampling steps give the run's samples in place of new ones, each those of the step by
its name; where there is one such step and the run had one, names do not matter. Of more samples
than a step asks for, it gets the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ponder.evals.directory import RunDirectory, Settings
from ponder.evals.finished import FinishedRun
from ponder.evals.grading import Attempt
from ponder.evals.records import Record
from ponder.evals.reports import Report
from ponder.evals.run import Progress, Solve, evaluate
from ponder.evals.solving import attempt_of, deciding_versions
from ponder.evals.tasks import Example, find_task
from ponder.orchestrator import (
    Budget,
    Expression,
    Runtime,
    Step,
    best,
    by_role,
    check,
    judge,
    name_of,
    nodes,
    plan,
    rewritten,
    sample,
    to_yaml,
)
from ponder.runtime import Capabilities, Engine, InputError, SilentEngine
from ponder.strategies import Port, Sample, Stored
from ponder.verifiers import Candidate, Equivalence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescoring:
    """What is done with the samples of a question."""

    strategy: Expression
    """Named."""
    every: bool
    """All samples of the run go to its one sampling step, however many that asks for."""

    @classmethod
    def by_strategy(cls, strategy: Expression) -> Rescoring:
        """Raises `InputError`: a step makes candidates from the question, and does not sample."""
        whole = check(strategy)
        for step in _makers(whole):
            if not isinstance(step.strategy, Sample):
                raise InputError(
                    f"`{step!r}` makes candidates in a way of its own, which stored samples cannot "
                    "stand for; give a strategy that starts with sample()"
                )
        return cls(strategy=whole, every=False)

    @classmethod
    def by_verifier(cls, verifier: str, *, engine: str = "policy") -> Rescoring:
        """The best of all samples, by that verifier, which asks the engine of this role."""
        judged = sample(1) | judge(verifier, engine=engine)
        return cls(strategy=check(judged | best()), every=True)

    def of(self, candidates: Sequence[Candidate]) -> Expression:
        """The strategy with these samples in it.

        Raises:
            InputError: it asks for more than there are; says numbers.
        """
        alone = len(list(_makers(self.strategy))) == 1
        sources = {candidate.source for candidate in candidates}

        def served(step: Step) -> Step:
            if not isinstance(step.strategy, Sample):
                return step
            name, n = name_of(step), step.strategy.n
            anyone = self.every or (alone and len(sources) == 1)
            found = [c for c in candidates if anyone or c.source == name]
            if not self.every and len(found) < n:
                raise InputError(
                    f"node {name!r} asks for {n} samples, and {len(found)} are stored"
                    + ("" if anyone else f" of a node by that name, of {sorted(sources)}")
                )
            return replace(
                step, strategy=Stored(candidates=tuple(found[: None if self.every else n]))
            )

        return rewritten(self.strategy, served)


def silent_engine(run: FinishedRun) -> Engine:
    """Stands for the run's model where nothing asks one."""
    candidates = [c for record in run.asked for c in run.candidates(record)]
    sure = min((c.token_confidence.k if c.token_confidence else 0 for c in candidates), default=0)
    capable = Capabilities.everything(
        1, vocabulary=sure, splice=frozenset(), live_views=False, hidden_states=True, heads=()
    )
    told = all(c.logprobs for c in candidates)
    return SilentEngine(
        name=f"the model of {run.path} (stored)", capabilities=replace(capable, logprobs=told)
    )


async def rescore(
    run: FinishedRun,
    rescoring: Rescoring,
    *,
    label: str,
    equivalence: Equivalence,
    engine: Engine | Mapping[str, Engine] | None = None,
    concurrency: int = 64,
    out: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Answer the questions of a run again, from its samples.

    Args:
        run: whose samples.
        rescoring: what is done with them.
        label: what the report calls it.
        equivalence: says which answers are the same.
        engine: what verifiers ask, one or several by role; without a policy those that ask it are
            refused.
        concurrency: questions, and engine calls, under way at once.
        out: directory that keeps the new records and traces; None keeps nothing.
        on_progress: called after each record.

    Raises:
        InputError: a question has too few samples, a step asks an engine that is not there, or a
            trace is missing or damaged; nothing was judged then.
        NotRecorded: `engine` is a replay without a call that a verifier makes.
    """
    given = by_role(engine) if engine is not None else {}
    silent = "policy" not in given
    engines = {"policy": silent_engine(run), **given} if silent else given
    runtime = Runtime(engines, equivalence=equivalence, concurrency=concurrency)
    _check(run, rescoring, runtime, silent=silent)
    task, examples = find_task(str(run.settings["task"])), [_example(r) for r in run.records]
    with ExitStack() as held:
        settings = _settings(run, rescoring, runtime)
        directory = held.enter_context(RunDirectory(_other(run, out), settings)) if out else None
        return await evaluate(
            task,
            examples,
            _solver(run, rescoring, runtime, directory),
            equivalence=equivalence,
            strategy=label,
            seed=int(str(run.settings["seed"])),
            out=directory,
            concurrency=concurrency,
            on_progress=on_progress,
        )


def _makers(whole: Expression) -> list[Step]:
    """Steps that make candidates from the question."""
    steps = [node for node in nodes(whole) if isinstance(node, Step)]
    return [step for step in steps if step.strategy.takes is Port.QUESTION]


def _check(run: FinishedRun, rescoring: Rescoring, runtime: Runtime, *, silent: bool) -> None:
    """Every question, before anything is judged."""
    short: list[str] = []
    for record in run.asked:
        candidates = run.candidates(record)
        try:
            served = rescoring.of(candidates)
        except InputError as error:
            short.append(f"question {record.id!r}: {error}")
            continue
        _check_calls(rescoring, served, runtime, silent=silent)
    if short:
        raise InputError(
            f"{len(short)} of {len(run.asked)} questions cannot be rescored; {short[0]}; ask for "
            "fewer samples, or mend the run"
        )


def _check_calls(
    rescoring: Rescoring, served: Expression, runtime: Runtime, *, silent: bool
) -> None:
    costs = {node.name: node.cost for node in plan(served, runtime.engines).nodes}
    for step in nodes(rescoring.strategy):
        calls = costs[name_of(step)].calls
        if silent and calls and _asks_policy(step):
            raise InputError(
                f"`{step!r}` asks a model, up to {calls} times a question, and there is none; give "
                "--replay FILE with these calls, or --model, or a verifier that asks none, such as "
                "'likelihood'"
            )


def _asks_policy(node: Expression) -> bool:
    return isinstance(node, Step) and "policy" in node.strategy.needs()


def _example(record: Record) -> Example:
    # Its text is in its trace.
    return Example(id=record.id, question="", answer=record.reference)


def _settings(run: FinishedRun, rescoring: Rescoring, runtime: Runtime) -> Settings:
    """What a `RunDirectory` asks to be the same on resuming."""
    return {
        **run.settings,
        "strategy": to_yaml(rescoring.strategy),
        "rescored": {"strategy": run.settings["strategy"], "every": rescoring.every},
        "model": str(runtime.models),
        "budget": asdict(Budget()),
        "versions": deciding_versions(),
    }


def _other(run: FinishedRun, out: Path) -> Path:
    if out.resolve() == run.path.resolve():
        raise InputError(f"--out {str(out)!r} is the run itself; give another directory")
    return out


def _solver(
    run: FinishedRun, rescoring: Rescoring, runtime: Runtime, out: RunDirectory | None
) -> Solve:
    records = {record.id: record for record in run.records}

    async def solve(example: Example, seed: int) -> Attempt:
        record = records[example.id]
        if record.outcome == "failed":
            raise InputError(record.reason)
        result = await runtime.solve(
            run.question(record),
            rescoring.of(run.candidates(record)),
            seed=record.seed,
            trace=out.trace(example.id) if out else None,
        )
        return attempt_of(result)

    return solve
