"""Questions at once for contenders that block: a thread each. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from benchmarks.rivals.asking import Answered, Ask, total_limit


def answer_all(ask: Ask, one: Callable[[str], Answered]) -> list[Answered]:
    """A question that takes longer than its limit is late; its thread cannot be stopped."""
    pool = ThreadPoolExecutor(max_workers=ask.at_once)
    begun: dict[int, float] = {}

    def timed(place: int) -> Answered:
        begun[place] = time.monotonic()
        try:
            return one(ask.questions[place])
        except Exception as error:  # told as it is
            return Answered(error=f"{type(error).__name__}: {error}")

    futures = [pool.submit(timed, place) for place in range(len(ask.questions))]
    end = time.monotonic() + total_limit(ask)

    def latest(place: int) -> float:
        return min(end, begun.get(place, end) + ask.limit)

    answered = [_result(future, partial(latest, place)) for place, future in enumerate(futures)]
    pool.shutdown(wait=False, cancel_futures=True)
    return answered


def _result(future: Future[Answered], end: Callable[[], float]) -> Answered:
    while not future.done():
        if time.monotonic() > end():
            return Answered(late=True)
        time.sleep(0.002)
    return future.result()
