"""The engine's one thread: it alone runs commands and steps.

Everybody else posts commands to its queue. If it dies, whatever the reason, every job under way and
every later one fails with a `ModelError` that names the cause; nothing waits for ever.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from weakref import WeakSet

import torch

from ponder.runtime.engine.core import Core
from ponder.runtime.engine.jobs import Command, Job
from ponder.runtime.errors import ModelError

AT_ONCE = 0.0003
"""Seconds between calls that are made together."""


class EngineThread:
    """Starts at once; `stop` ends it."""

    def __init__(self, core: Core, name: str, threads: int) -> None:
        self.seconds = 0.0
        """Spent in commands and steps."""
        self._core = core
        self._step = 0.0
        """Seconds that the last one took."""
        self._wave = 0
        """Calls that it was for, where those were of such as pick."""
        self._name = name
        self._threads = threads
        self._commands = SimpleQueue[Command]()
        self._jobs = WeakSet[Job]()
        self._lock = Lock()
        self._stopped = False
        self._cause: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"ponder {name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises a `ModelError` if the engine is no longer there."""
        error = self._failure()
        if error is not None:
            raise error

    def begin(self, command: Command, *jobs: Job) -> None:
        """Post a command that serves jobs; they end, come what may."""
        with self._lock:
            self.check()
            self._jobs.update(jobs)
            self._commands.put(command)

    def post(self, command: Command) -> None:
        """Post a command nobody waits for; safe in finalizers. Dropped once the engine stopped."""
        self._commands.put(command)

    def ask_to_stop(self) -> None:
        """After the step under way, no other begins."""
        with self._lock:
            self._stopped = True
        self._commands.put(_nothing)

    def stop(self) -> None:
        """End the thread and wait for it; again is no harm."""
        self.ask_to_stop()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                while self._obey():
                    before = self.seconds
                    self._timed(self._core.step)
                    self._step = self.seconds - before
        except BaseException as error:
            self._cause = error
        finally:
            self._fail_all()

    def _obey(self) -> bool:
        """Run the commands that came in, and those of a wave."""
        self._drain()
        self._gather()
        return not self._stopped

    def _drain(self) -> None:
        """Run the commands that came in; waits for one when there is nothing else to do."""
        while not self._stopped and not (self._commands.empty() and self._core.busy):
            self._timed(self._commands.get())

    def _gather(self) -> None:
        """Who picks comes in waves: a step for each alone would cost as much as one for all. So
        wait for those that think, as long as a step takes, or while fewer came than last time, for
        those that follow at once. Who thinks longer is not waited for again.
        """
        until = time.perf_counter() + self._step
        while not self._stopped and (pickers := self._core.pickers):
            if not self._core.shown and pickers >= self._wave:
                break
            left = until - time.perf_counter()
            wait = left if self._core.shown else min(left, AT_ONCE)
            try:
                command = self._commands.get(timeout=max(0.0, wait))
            except Empty:
                self._core.shown.clear()
                break
            self._timed(command)
            self._drain()
        self._wave = self._core.pickers

    def _timed(self, what: Command) -> None:
        start = time.perf_counter()
        what()
        self.seconds += time.perf_counter() - start

    def _fail_all(self) -> None:
        with self._lock:
            self._stopped = True
            jobs = list(self._jobs)
        for job in jobs:
            job.end(self._failure())

    def _failure(self) -> ModelError | None:
        if self._cause is not None:
            error = ModelError(f"the engine {self._name!r} stopped: {self._cause!r}")
            error.__cause__ = self._cause
            return error
        return ModelError(f"the engine {self._name!r} is closed") if self._stopped else None


def _nothing() -> None:
    """Wakes the thread."""
