"""A child process that runs `math_child`: mathematics that may hang, asked with a deadline."""

from __future__ import annotations

from pathlib import Path

from ponder.verifiers.child import Child, ProcessFailed

PROGRAM = Path(__file__).with_name("math_child.py")
LONGEST_REPLY = 1000
"""Bytes; an honest one has under 50."""


class MathProcess(Child):
    def __init__(self, *, memory: int, cpu_seconds: int) -> None:
        """`memory` in bytes; `cpu_seconds` is a backstop for one request."""
        super().__init__(PROGRAM, str(memory), str(cpu_seconds), longest=LONGEST_REPLY)

    async def same(self, reference: str, answer: str) -> bool:
        """Raises `ProcessFailed` where it ended or answered something else."""
        same = (await self.ask({"reference": reference, "answer": answer})).get("same")
        if not isinstance(same, bool):
            raise ProcessFailed("the reply is to another request")
        return same
