"""Runs that are broken off at a chosen moment, and what is left to compare of those that go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guessing import runtime

from ponder.orchestrator import Budget, Expression, Result, recompute
from ponder.orchestrator.saving import Saver
from ponder.runtime import ScriptedEngine, Usage


@dataclass(slots=True)
class Stop:
    """Cancels its task when it was asked `after` times."""

    after: int
    asked: int = 0
    task: asyncio.Task[Any] | None = None  # of whatever

    def __call__(self, *_: object) -> None:
        self.asked += 1
        if self.asked == self.after and self.task is not None:
            self.task.cancel()


@dataclass(slots=True, kw_only=True)
class Runs:
    """Of one strategy, with one seed."""

    strategy: Expression
    engine: Callable[[], ScriptedEngine]
    path: Path
    seed: int = 0
    concurrency: int = 64
    budget: Budget | None = None

    def whole(self, **options: object) -> Result:
        return self._run(None, **options)

    def until_told(self, times: int, patch: pytest.MonkeyPatch, *, resume: bool = False) -> int:
        """Broken off when that much was told; how much was."""
        stop, save = Stop(times), Saver.save

        def counted(self: Saver, node: str, progress: Callable[[], object]) -> None:
            save(self, node, progress)
            stop()

        with patch.context() as patched:
            patched.setattr(Saver, "save", counted)
            self._broken(stop, resume=resume)
        return stop.asked

    def until_called(self, calls: int, *, resume: bool = False) -> None:
        """Broken off when that many calls were made, in the middle of whatever was under way."""
        stop = Stop(calls)
        self._broken(stop, resume=resume, on_event=stop)

    def resumed(self, **options: object) -> Result:
        return self._run(None, resume=self.path, **options)

    def _broken(self, stop: Stop, *, resume: bool, **options: object) -> None:
        found = {"resume": self.path} if resume else {}
        try:
            self._run(stop, save_search=self.path, **found, **options)
        except asyncio.CancelledError:
            return

    def _run(self, stop: Stop | None, **options: object) -> Result:
        engine = self.engine()

        async def run() -> Result:
            if stop is not None:
                stop.task = asyncio.current_task()
            given = {"seed": self.seed, "budget": self.budget, **options}
            return await runtime(engine, self.concurrency).solve("Which?", self.strategy, **given)  # type: ignore[arg-type]

        try:
            result = asyncio.run(run())
            assert recompute(result.trace.events) == result.numbers
        finally:
            assert engine.stats().branches == 0
        return result


def told(result: Result) -> object:
    """All that does not depend on whether it was broken off."""
    nodes = [json.dumps(e) for e in result.trace.events if e["event"] == "node"]
    answer = (result.answer, result.confidence, result.status, result.chosen, result.seed)
    return nodes, answer, result.candidates


def given_again(result: Result) -> Usage:
    """What was charged for opening branches again."""
    reopened = [e for e in result.trace.events if e["event"] == "call" and e["kind"] == "reopen"]
    return sum((Usage(**event["usage"]) for event in reopened), Usage())
