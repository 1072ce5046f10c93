"""The run loop: each example once, in order, recorded as it finishes, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_solver import SETTINGS, Solver, examples

from ponder.evals import (
    Attempt,
    Example,
    Progress,
    Record,
    Report,
    RunDirectory,
    Solve,
    evaluate,
    example_seed,
    find_task,
    report,
)
from ponder.runtime import CapabilityError, ContextOverflow, InputError, ModelError, Usage
from ponder.verifiers import ExactEquivalence

Open = Callable[..., RunDirectory]
HERE = Path(__file__).parent


@pytest.fixture
def open_run(tmp_path: Path) -> Open:
    """Makes the directory of one run, with some settings changed."""
    return lambda **changes: RunDirectory(tmp_path / "run", {**SETTINGS, **changes})


async def asked(
    solve: Solve,
    found: Sequence[Example],
    *,
    out: RunDirectory | None = None,
    concurrency: int = 4,
    on_progress: Callable[[Progress], None] | None = None,
    seed: int = 0,
) -> Report:
    return await evaluate(
        find_task("gsm8k"),
        found,
        solve,
        equivalence=ExactEquivalence(),
        strategy="vote",
        seed=seed,
        out=out,
        concurrency=concurrency,
        on_progress=on_progress,
    )


def timeless(records: Sequence[Record]) -> dict[str, Record]:
    """By id, without what differs from run to run."""
    return {r.id: replace(r, seconds=0.0, finished=0.0, session=0) for r in records}


def same_but_for_times(a: Report, b: Report) -> bool:
    return replace(a, seconds=0.0) == replace(b, seconds=0.0)


def recorded(found: list[Record]) -> Callable[[Progress], None]:
    return lambda progress: found.append(progress.record)


def test_examples_start_in_order_within_the_window() -> None:
    solver, found = Solver(pause=0.01), examples(20)
    result = asyncio.run(asked(solver, found, concurrency=3))
    assert solver.asked == [e.id for e in found]
    assert solver.most == 3
    assert (result.n, result.total, result.status) == (20, 20, "complete")


def test_concurrency_changes_no_answer() -> None:
    one, many = list[Record](), list[Record]()
    found = examples(30)
    a = asyncio.run(asked(Solver(), found, concurrency=1, on_progress=recorded(one)))
    b = asyncio.run(asked(Solver(pause=0.01), found, concurrency=30, on_progress=recorded(many)))
    assert timeless(one) == timeless(many)
    assert same_but_for_times(a, b)


def test_seeds_belong_to_examples() -> None:
    found = examples(3)
    forth, back = list[Record](), list[Record]()
    asyncio.run(asked(Solver(), found, on_progress=recorded(forth)))
    asyncio.run(asked(Solver(), found[::-1], on_progress=recorded(back)))
    assert timeless(forth) == timeless(back)
    assert {r.seed for r in forth} == {example_seed(0, e.id) for e in found}
    assert len({example_seed(s, e.id) for s in (0, 1) for e in found}) == 6
    assert all(0 <= example_seed(s, "x") < 2**53 for s in range(100))


def test_grading() -> None:
    """Equal answers are one group; the final answer and each candidate are graded by meaning."""
    attempt = Attempt(
        answer="1/2",
        confidence=None,
        outcome="complete",
        candidates=("0.5", None, "\\frac{1}{2}", "3", "1/2\ud800"),
        usage=Usage(decoded=7),
    )

    async def solve(example: Example, seed: int) -> Attempt:
        return attempt

    found = list[Record]()
    half = Example(id="h", question="?", answer="\\frac12")
    asyncio.run(asked(solve, [half], on_progress=recorded(found)))
    assert found[0].correct
    assert [v.group for v in found[0].candidates] == [0, None, 0, 1, 2]
    assert [v.correct for v in found[0].candidates] == [True, False, True, False, False]
    assert found[0].candidates[4].answer == "1/2?"


def test_an_example_that_cannot_be_asked_counts_as_wrong(open_run: Open) -> None:
    solver = Solver()

    async def solve(example: Example, seed: int) -> Attempt:
        if example.id == "e/3":
            raise ContextOverflow("the prompt has 9000 tokens; the context holds 2048")
        return await solver(example, seed)

    with open_run() as run:
        result = asyncio.run(asked(solve, examples(8), out=run))
        failed = next(r for r in run.records if r.id == "e/3")
    assert (failed.outcome, failed.correct, failed.answer) == ("failed", False, None)
    assert failed.reason == "the prompt has 9000 tokens; the context holds 2048"
    assert (result.n, result.failed, result.status) == (8, 1, "complete")
    with open_run() as run:
        asyncio.run(asked(solver, examples(8), out=run))
    assert "e/3" not in solver.asked


@pytest.mark.parametrize(
    "error",
    [ModelError("the engine died"), CapabilityError("no logits here"), OSError(5, "broken")],
    ids=["model", "capability", "system"],
)
def test_other_errors_end_the_run_and_keep_what_finished(open_run: Open, error: Exception) -> None:
    solver = Solver(pause=0.02)

    async def solve(example: Example, seed: int) -> Attempt:
        if example.id == "e/9":
            await asyncio.sleep(0.01)
            raise error
        return await solver(example, seed)

    with open_run() as run, pytest.raises(type(error)) as caught:
        asyncio.run(asked(solve, examples(40), out=run))
    assert caught.value is error
    kept = {r.id for r in run.records}
    assert kept
    assert "e/9" not in kept
    assert set(solver.asked) - set(solver.cancelled) == kept
    with open_run() as run:
        again = asyncio.run(asked(Solver(), examples(40), out=run))
    unbroken = asyncio.run(asked(Solver(), examples(40)))
    assert same_but_for_times(again, unbroken)


def test_cancelling_ends_what_is_under_way(open_run: Open) -> None:
    solver = Solver(pause=0.02)

    async def interrupted(run: RunDirectory) -> None:
        enough = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.done == 7:
                enough.set()

        task = asyncio.create_task(asked(solver, examples(40), out=run, on_progress=watch))
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert solver.under_way == 0

    with open_run() as run:
        asyncio.run(interrupted(run))
        kept = run.records
    assert 7 <= len(kept) < 40
    part = report(kept, task="gsm8k", strategy="vote", total=40)
    assert (part.status, part.n) == ("interrupted", len(kept))


def test_a_record_that_cannot_be_saved_ends_the_run(open_run: Open) -> None:
    """It is no fault of the question's, though the error is an `InputError` too."""
    with open_run() as run:

        def twice(progress: Progress) -> None:
            run.append(progress.record)

        with pytest.raises(InputError, match="recorded already"):
            asyncio.run(asked(Solver(), examples(5), out=run, on_progress=twice))
        # One for each worker: all four were done before the first error was heard.
        assert len(run.records) == 4


def test_arguments_are_checked(open_run: Open) -> None:
    with pytest.raises(InputError, match="concurrency is 0; it must be at least 1"):
        asyncio.run(asked(Solver(), examples(2), concurrency=0))
    with pytest.raises(InputError, match="2 examples have only 1 different ids"):
        asyncio.run(asked(Solver(), examples(1) * 2))
    with open_run() as run:
        asyncio.run(asked(Solver(), examples(3), out=run))
        with pytest.raises(InputError, match="holds 'e/2', which is none of the 2 examples"):
            asyncio.run(asked(Solver(), examples(2), out=run))


CHILD = """
import asyncio, sys
from pathlib import Path
from scripted_solver import SETTINGS, Solver, examples
from test_run import asked
from ponder.evals import RunDirectory
with RunDirectory(Path(sys.argv[1]), SETTINGS) as run:
    done = lambda progress: print(progress.done, flush=True)
    asyncio.run(asked(Solver(pause=0.02), examples(60), out=run, on_progress=done))
"""


def child(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_resumes(open_run: Open, tmp_path: Path, kind: signal.Signals) -> None:
    for stop in (11, 37):
        with child(tmp_path / "run") as running:
            assert running.stdout
            for line in running.stdout:
                if int(line) >= stop:
                    break
            running.send_signal(kind)
            running.stdout.read()
            running.wait()
    with open_run() as run:
        before = run.records
        resumed = asyncio.run(asked(Solver(), examples(60), out=run))
        after = run.records
    assert 37 <= len(before) < 60
    assert after[: len(before)] == before
    assert {r.session for r in after} == {0, 1, 2}
    unbroken = list[Record]()
    whole = asyncio.run(asked(Solver(), examples(60), on_progress=recorded(unbroken)))
    assert len(after) == len({r.id for r in after}) == 60
    assert timeless(after) == timeless(unbroken)
    assert same_but_for_times(resumed, whole)
    assert resumed.n == 60
