"""Equivalence: tables, laws of the exact part, and a child process that is made to fail."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import InputError, ModelError
from ponder.verifiers import ExactEquivalence, MathEquivalence, canonical
from ponder.verifiers.child import ProcessFailed
from ponder.verifiers.exact import decide
from ponder.verifiers.math_process import PROGRAM, MathProcess

DATA = Path(os.environ.get("PONDER_DATA", Path(__file__).parents[3] / "shared" / "data"))

HANGS = ("x+1", "9^{9^{9}}+x")
"""math-verify works on this for hours."""
FILLS = ("x^2", "(x+y+z+w)^{300}-1")
"""math-verify needs gigabytes for this."""

Value = TypeVar("Value")


def with_equivalence(
    work: Callable[[MathEquivalence], Awaitable[Value]], equivalence: MathEquivalence | None = None
) -> Value:
    async def run() -> Value:
        subject = equivalence or MathEquivalence()
        try:
            return await work(subject)
        finally:
            await subject.close()

    return asyncio.run(run())


EXACT = [
    ("18", "18 dollars", True),
    ("1/2", "0.5", True),
    ("1/2", "2/4", True),
    ("50%", "50", True),
    ("50%", "0.5", True),
    ("12.5\\%", "12.5", True),
    ("50%", "5", False),
    ("25", "0.25", False),
    ("50 cents", "0.50", False),
    ("1/3", "0.333333", True),
    ("2/3", "0.6666666667", True),
    ("0.666667", "0.6666666667", True),
    ("2/3", "0.666666", False),
    ("2/3", "0.67", False),
    ("3.14", "3.14159265", False),
    ("0.3", "0.30000000000000004", True),
    ("0.0000672", "0.0000671", False),
    ("0.00000012", "0.00000013", False),
    ("1234567.1", "1234567.14", False),
    ("1000000", "1000001", False),
    ("5", "-5", False),
    ("0", "0.0000001", False),
    ("52_8", "42_{10}", True),
    ("52_8", "52_9", False),
    ("99_8", "99_9", False),
    ("listen", "silent", False),
    ("\\text{even}", "Even.", True),
    ("Monday", "5", False),
    ("(1,2)", "(1, 2.0)", True),
    ("288 \\pi", "288pi", True),
]
ALGEBRA = [
    ("x^2+2x+1", "(x+1)^2", True),
    ("x^2+2x+1", "(x+2)^2", False),
    ("3\\sqrt{13}", "\\sqrt{117}", True),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", True),
    ("18+2\\pi", "2\u03c0 + 18", True),
    ("52_8", "52", True),
    ("(0,9) \\cup (9,36)", "(0, 36) \\setminus \\{9\\}", True),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}", True),
    ("(-\\sqrt{3}, \\sqrt{3})", "[-\\sqrt{3}, \\sqrt{3})", False),
    ("y = 2x + 3", "y = \\frac{1}{2}x + \\frac{3}{2}", False),
    ("5", "\\{5\\}", True),
    ("(1,2)", "(2,1)", False),
    ("6+9i", "9i + 6", True),
    ("\\frac{1}{0}", "0", False),
    ("", "x", False),
]


@pytest.mark.parametrize(("a", "b", "expected"), EXACT)
def test_decided_exactly(a: str, b: str, expected: bool) -> None:
    assert decide(a, b) is expected
    assert decide(b, a) is expected
    assert asyncio.run(ExactEquivalence().same(a, b)) is expected


def test_decided_by_the_child() -> None:
    async def work(subject: MathEquivalence) -> list[bool]:
        return [await subject.same(a, b) for a, b, _ in ALGEBRA]

    assert all(decide(a, b) is None for a, b, _ in ALGEBRA)
    assert with_equivalence(work) == [expected for _, _, expected in ALGEBRA]


def test_exact_alone_never_guesses() -> None:
    for a, b, _ in ALGEBRA:
        assert not asyncio.run(ExactEquivalence().same(a, b))


@given(st.text(max_size=40), st.text(max_size=40))
def test_reflexive_and_symmetric(a: str, b: str) -> None:
    assert decide(a, a) is True
    assert decide(a, b) == decide(b, a)


@given(st.decimals(-(10**6), 10**6, places=4), st.decimals(-(10**6), 10**6, places=4))
def test_short_decimals_are_same_only_when_equal(a: object, b: object) -> None:
    assert decide(str(a), str(b)) is (a == b)


def test_counts_and_no_child_for_exact_work() -> None:
    async def work(subject: MathEquivalence) -> None:
        assert await subject.same("1/2", "0.5")
        assert (subject.counts.asked, subject.counts.exact) == (1, 1)
        assert subject.pid is None
        assert not await subject.same("x", "y" * 20_000)
        assert subject.counts.too_long == 1
        assert subject.pid is None
        assert await subject.same("x + x", "2x")
        assert subject.counts.checked == 1
        assert subject.pid is not None

    with_equivalence(work)


def test_a_hang_is_a_counted_refusal_and_the_child_is_replaced() -> None:
    async def work(subject: MathEquivalence) -> None:
        assert await subject.same("x + x", "2x")
        first = subject.pid
        assert not await subject.same(*HANGS)
        assert subject.counts.timeouts == 1
        assert await subject.same("x + x", "2x")
        assert subject.pid != first

    with_equivalence(work, MathEquivalence(deadline=1.5))


def test_the_memory_limit_holds() -> None:
    async def work(subject: MathEquivalence) -> None:
        assert not await subject.same(*FILLS)
        assert subject.counts.crashes == 1
        assert await subject.same("x + x", "2x")

    with_equivalence(work, MathEquivalence(deadline=60, memory=200 * 2**20))


def test_the_child_allocates_no_more_than_its_limit() -> None:
    limited = (
        f"import runpy; child = runpy.run_path({str(PROGRAM)!r}); child['limit'](2**29)\n"
        "try: bytearray(2**30)\n"
        "except MemoryError: print('held')"
    )
    run = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert run.stdout == "held\n"


def test_a_killed_child_is_a_crash_and_is_replaced() -> None:
    async def work(subject: MathEquivalence) -> None:
        assert await subject.same("x + x", "2x")
        assert subject.pid is not None
        working = asyncio.create_task(subject.same(*HANGS))
        await asyncio.sleep(0.2)
        os.kill(subject.pid, signal.SIGKILL)
        assert not await working
        assert subject.counts.crashes == 1
        assert await subject.same("x + x", "2x")
        assert subject.pid is not None
        os.kill(subject.pid, signal.SIGKILL)  # between two requests
        await asyncio.sleep(0.1)
        assert not await subject.same("x + x", "2x")
        assert subject.counts.crashes == 2
        assert await subject.same("x + x", "2x")

    with_equivalence(work)


def test_a_large_parent_is_not_the_childs_memory() -> None:
    async def work() -> None:
        model = bytearray(b"w") * (700 << 20)
        subject = MathEquivalence(memory=1 << 30)
        assert not await subject.same("x", "y + 1")
        assert (subject.counts.checked, subject.counts.crashes) == (1, 0)
        await subject.close()
        del model

    asyncio.run(work())


def test_a_cancelled_caller_leaves_no_stray_reply() -> None:
    async def work(subject: MathEquivalence) -> None:
        assert await subject.same("x + x", "2x")
        working = asyncio.create_task(subject.same(*HANGS))
        queued = asyncio.create_task(subject.same("y + y", "2y"))
        waiting = asyncio.create_task(subject.same("x", "y + 1"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        working.cancel()
        assert await queued
        assert not await subject.same("x", "y")
        assert await subject.same("x + x", "2x")
        assert subject.counts.timeouts == subject.counts.crashes == 0

    with_equivalence(work)


def test_concurrent_callers_get_their_own_verdicts() -> None:
    async def work(subject: MathEquivalence) -> list[bool]:
        pairs = [(f"x + {n}", f"{n + n % 2} + x") for n in range(24)]
        return await asyncio.gather(*(subject.same(a, b) for a, b in pairs))

    assert with_equivalence(work) == [n % 2 == 0 for n in range(24)]


def test_consecutive_event_loops_share_the_child() -> None:
    subject = MathEquivalence()
    assert asyncio.run(subject.same("x + x", "2x"))
    first = subject.pid
    assert asyncio.run(subject.same("x + y", "y + x"))
    assert subject.pid == first
    asyncio.run(subject.close())
    assert subject.pid is None
    assert asyncio.run(subject.same("x + x", "2x"))
    asyncio.run(subject.close())


def test_a_dropped_equivalence_ends_its_child() -> None:
    subject = MathEquivalence()
    assert asyncio.run(subject.same("x + x", "2x"))
    pid = subject.pid
    assert pid is not None
    del subject
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_model_text_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def work(subject: MathEquivalence) -> None:
        for text in (
            f"__import__('os').system('touch {mark}')",
            f"$1+__import__('os').system('touch {mark}')$",
            "(1).__class__.__base__.__subclasses__()",
            '"}\n{"id": 1, "same": true}\n',
            "\x00\ud800\u2028\n\n",
            "\\input{/etc/passwd}",
        ):
            assert not await subject.same("x + 1", text)
        assert await subject.same("x + x", "2x")

    with_equivalence(work)
    assert not mark.exists()


@pytest.mark.parametrize(
    "program",
    ["", "print('hello')", "print('[1]')", "print('{\"ready\": true}')", "print('x' * 5000)"],
)
def test_garbage_from_the_child_is_an_error(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "child.py"
    path.write_text(program)
    monkeypatch.setattr("ponder.verifiers.math_process.PROGRAM", path)

    async def talk() -> None:
        process = MathProcess(memory=2**30, cpu_seconds=9)
        try:
            await process.ready()
            await process.same("x", "y")
        finally:
            process.kill()

    with pytest.raises(ProcessFailed):
        asyncio.run(talk())


def test_a_child_that_cannot_start_says_so() -> None:
    subject = MathEquivalence(memory=2**20)
    with pytest.raises(ModelError, match="did not start"):
        asyncio.run(subject.same("x + x", "2x"))
    assert subject.pid is None


@pytest.mark.parametrize("limits", [{"deadline": 0.0}, {"start_deadline": -1.0}])
def test_limits_are_positive(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match="above 0"):
        MathEquivalence(**limits)  # type: ignore[arg-type]


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.verifiers.equivalence.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"ponder\[evals\]"):
        MathEquivalence()


def test_this_process_never_loads_the_library() -> None:
    program = (
        "import asyncio, sys; from ponder.verifiers import MathEquivalence\n"
        "subject = MathEquivalence(); assert asyncio.run(subject.same('x + x', '2x'))\n"
        "asyncio.run(subject.close()); print({'sympy', 'math_verify'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr


@pytest.mark.skipif(not (DATA / "gsm8k_test.jsonl").exists(), reason="needs the shared data")
def test_cents_are_not_dollars() -> None:
    lines = (DATA / "gsm8k_test.jsonl").read_text("utf-8").split("\n")
    for row in (493, 607, 1243):
        cents = json.loads(lines[row])["answer"]
        assert decide(cents, f"{cents} cents") is True
        assert decide(cents, f"${int(cents) / 100:.2f}") is False
        assert canonical(cents) == cents
