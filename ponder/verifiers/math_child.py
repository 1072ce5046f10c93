"""The program of the child process that asks math-verify: a JSON line in, a JSON line out.

It is run by path, imports nothing of Ponder, and is meant to be killed: it has no deadline of its
own, only limits on memory, processor time and files. Text is read as LaTeX by a grammar; the
library's plain-expression reader is not used, since it evaluates what it reads.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from typing import Any, TextIO


def limit(memory: int) -> None:
    """In bytes of address space where the system enforces that, else of data."""
    kind = resource.RLIMIT_AS if sys.platform == "linux" else resource.RLIMIT_DATA
    resource.setrlimit(kind, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """Ends this process should it go on for longer, even when nobody is left to kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    ceiling = int(used.ru_utime + used.ru_stime) + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        ceiling = min(ceiling, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (ceiling, hard))


def bloated(memory: int) -> bool:
    """Whether this process has come near its limit: the library swallows the `MemoryError`, and
    what it then says is not a comparison.
    """
    return peak_memory() > memory // 2


def peak_memory() -> int:
    """Bytes this program has had in memory at most."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss: on Linux that starts at what the parent had, which may hold a model.
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def private_output() -> TextIO:
    """The pipe to the parent, out of reach of whatever a library prints."""
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return pipe


def serve(memory: int, seconds: int) -> None:
    replies = private_output()
    limit(memory)
    import math_verify

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    latex = [math_verify.LatexExtractionConfig()]

    def read(text: str) -> Any:  # opaque here: the library's own type names no element either
        return math_verify.parse(  # pyright: ignore[reportUnknownVariableType] - as said above
            f"${text}$", latex, parsing_timeout=0
        )

    say(replies, {"ready": True})
    for line in sys.stdin:
        limit_time(seconds)
        ask = json.loads(line)
        same = math_verify.verify(read(ask["reference"]), read(ask["answer"]), timeout_seconds=0)
        if not same and bloated(memory):
            raise MemoryError(line)
        say(replies, {"id": ask["id"], "same": bool(same)})


def say(replies: TextIO, message: dict[str, object]) -> None:
    print(json.dumps(message), file=replies, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
