"""Whether two final answers mean the same: exact paths first, math-verify in a child process after.

Says false, and counts it, where the child does not answer in time: text may be made to hang it. It
compares answers without their question: `52_8` is `52`, as the question will have named the base.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from importlib.util import find_spec

from ponder.runtime import InputError, ModelError
from ponder.verifiers.child import ProcessFailed
from ponder.verifiers.exact import decide
from ponder.verifiers.math_process import MathProcess
from ponder.verifiers.notation import tidy

LONGEST = 10_000
"""Characters of an answer that is still given to math-verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceCounts:
    """What became of the comparisons. The last three kinds had the verdict "not the same"."""

    asked: int = 0
    exact: int = 0
    """Decided without the child process."""
    checked: int = 0
    """Decided by math-verify."""
    timeouts: int = 0
    crashes: int = 0
    """The child ran out of memory, broke down or was killed from outside."""
    too_long: int = 0


class ExactEquivalence:
    """The exact paths alone, for an install without math-verify: what they leave open differs."""

    async def same(self, a: str, b: str) -> bool:
        return decide(a, b) is True


class MathEquivalence:
    """Exact paths, then math-verify in a child process with a deadline and a memory limit.

    The child starts at the first comparison that needs it, lives until `close`, and is replaced
    when it hangs or breaks down. Concurrent callers wait for each other. One event loop at a time.
    """

    def __init__(
        self, *, deadline: float = 5.0, memory: int = 2 * 2**30, start_deadline: float = 60.0
    ) -> None:
        """`deadline` and `start_deadline` in seconds, for one comparison and for loading the
        library; `memory` in bytes.

        Raises:
            InputError: math-verify is not installed, or a limit is not positive.
        """
        for name, value in (
            ("deadline", deadline),
            ("memory", memory),
            ("start_deadline", start_deadline),
        ):
            if not value > 0:
                raise InputError(f"{name} is {value!r}; it must be above 0")
        if find_spec("math_verify") is None:
            raise InputError(
                "MathEquivalence needs the package 'math-verify', which is not installed; "
                "run pip install 'ponder[evals]', or use ExactEquivalence"
            )
        self._deadline = deadline
        self._memory = memory
        self._start_deadline = start_deadline
        self._process: MathProcess | None = None
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._counts = EquivalenceCounts()

    @property
    def counts(self) -> EquivalenceCounts:
        return self._counts

    @property
    def pid(self) -> int | None:
        """Of the child process, while there is one."""
        return None if self._process is None else self._process.pid

    async def same(self, a: str, b: str) -> bool:
        """`a` is the reference: math-verify reads an assignment or interval by it.

        Raises:
            ModelError: The child process cannot be started.
        """
        self._count("asked")
        verdict = decide(a, b)
        if verdict is not None:
            self._count("exact")
            return verdict
        if max(len(a), len(b)) > LONGEST:
            self._count("too_long")
            return False
        async with self._lock():
            return await self._check(tidy(a), tidy(b))

    async def close(self) -> None:
        """Ends the child process; a later comparison starts another."""
        self._drop()

    async def _check(self, a: str, b: str) -> bool:
        process = await self._running()
        outcome, same = "crashes", False
        try:
            async with asyncio.timeout(self._deadline):
                same = await process.same(a, b)
            outcome = "checked"
        except TimeoutError:
            outcome = "timeouts"
        except ProcessFailed:
            outcome = "crashes"
        finally:
            # A caller who is cancelled leaves a child at work: its reply would answer the next.
            if outcome != "checked":
                self._drop()
        self._count(outcome)
        return same

    async def _running(self) -> MathProcess:
        if self._process is not None:
            return self._process
        self._process = MathProcess(
            memory=self._memory, cpu_seconds=math.ceil(2 * self._deadline) + 1
        )
        started = False
        try:
            async with asyncio.timeout(self._start_deadline):
                await self._process.ready()
            started = True
        except (TimeoutError, ProcessFailed) as error:
            raise ModelError(
                f"the child process for math-verify did not start ({str(error) or 'too slow'}); "
                "see whether `python -c 'import math_verify'` works within the memory limit of "
                f"{self._memory} bytes and {self._start_deadline} seconds"
            ) from error
        finally:
            if not started:
                self._drop()
        return self._process

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        return self._turn[1]

    def _drop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _count(self, field: str) -> None:
        self._counts = replace(self._counts, **{field: getattr(self._counts, field) + 1})
