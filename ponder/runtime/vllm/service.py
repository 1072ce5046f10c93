"""A thread with an event loop for vLLM, which belongs to one; Ponder's callers come from any number
of loops.

Whatever is begun here ends: with its result, or with a `ModelError` when vLLM fails or the engine
is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from threading import Lock, Thread
from typing import TypeVar

from ponder.runtime.engine.jobs import Decode
from ponder.runtime.errors import ModelError, PonderError
from ponder.runtime.vllm.backend import Backend

T = TypeVar("T")


class Service:
    """Starts the backend, and stops it."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self._name = name
        self._lock = Lock()
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"ponder {name}", daemon=True)
        self._thread.start()
        try:
            self.begin(backend.start()).result()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raises a `ModelError` if the engine is closed."""
        if self._stopped:
            raise self._closed()

    def begin(self, work: Coroutine[None, None, T]) -> Future[T]:
        """Run it there; cancelling the future cancels it."""
        with self._lock:
            if self._stopped:
                work.close()
                raise self._closed()
            return asyncio.run_coroutine_threadsafe(self._explained(work), self._loop)

    def stop(self) -> None:
        """End what is under way, then vLLM and the thread; again is no harm."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _explained(self, work: Coroutine[None, None, T]) -> T:
        try:
            return await work
        except PonderError:
            raise
        except asyncio.CancelledError:
            if self._stopped:
                raise self._closed() from None
            raise
        except Exception as error:
            raise ModelError(f"the engine {self._name!r} failed: {error!r}") from error

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._backend.stop()

    def _closed(self) -> ModelError:
        return ModelError(f"the engine {self._name!r} is closed")


def settle(job: Decode, future: Future[None]) -> None:
    """A decode whose request failed, or never began, waits no longer."""
    try:
        error = future.exception()
    except CancelledError:
        job.end()
        return
    if isinstance(error, Exception):
        job.end(error)
