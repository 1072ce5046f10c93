"""Owns one `math_child` process: starts it, asks it one thing at a time, and ends it.

It knows pipes and deadlines, nothing of mathematics. The pipes are watched by whichever event loop
is running, so one process serves consecutive loops; there are no threads. Needs a POSIX system.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import IO, cast

PROGRAM = Path(__file__).with_name("math_child.py")
LONGEST_REPLY = 1000
"""Bytes; an honest one has under 50."""


class ProcessFailed(Exception):
    """The process ended, or said what it should not."""


class MathProcess:
    """A running child. Once `ask` or `ready` raised, only `kill` may follow."""

    def __init__(self, *, memory: int, cpu_seconds: int) -> None:
        """`memory` in bytes; `cpu_seconds` is a backstop for one request."""
        # -P keeps a file beside the program, or in the working directory, from posing as a library.
        command = [sys.executable, "-P", str(PROGRAM), str(memory), str(cpu_seconds)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is ours to handle
        )
        self.kill = weakref.finalize(self, end, self._process)
        self._into = cast(IO[bytes], self._process.stdin).fileno()
        self._from = cast(IO[bytes], self._process.stdout).fileno()
        os.set_blocking(self._into, False)
        os.set_blocking(self._from, False)
        self._asked = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Returns when the libraries are loaded."""
        if await self._reply() != {"ready": True}:
            raise ProcessFailed("the first line was not the greeting")

    async def ask(self, reference: str, answer: str) -> bool:
        """Raises:
        ProcessFailed: It ended or answered something else.
        """
        self._asked += 1
        request = {"id": self._asked, "reference": reference, "answer": answer}
        await self._write(json.dumps(request).encode() + b"\n")
        reply = await self._reply()
        same = reply.get("same")
        if reply.get("id") != self._asked or not isinstance(same, bool):
            raise ProcessFailed("the reply is to another request")
        return same

    async def _write(self, line: bytes) -> None:
        while line:
            await open_for(self._into, writing=True)
            try:
                line = line[os.write(self._into, line) :]
            except OSError as error:
                raise ProcessFailed(f"it takes no request: {error}") from error

    async def _reply(self) -> dict[str, object]:
        said = b""
        while not said.endswith(b"\n"):
            await open_for(self._from, writing=False)
            chunk = os.read(self._from, LONGEST_REPLY)
            said += chunk
            if not chunk or len(said) > LONGEST_REPLY:
                raise ProcessFailed("it ended" if not chunk else "the reply does not end")
        try:
            reply = json.loads(said)
        except ValueError as error:
            raise ProcessFailed("the reply is not JSON") from error
        if not isinstance(reply, dict):
            raise ProcessFailed("the reply is not an object")
        return cast(dict[str, object], reply)


async def open_for(pipe: int, *, writing: bool) -> None:
    """Returns when the pipe can be written or read, or is broken."""
    loop = asyncio.get_running_loop()
    add = loop.add_writer if writing else loop.add_reader
    remove = loop.remove_writer if writing else loop.remove_reader
    able = asyncio.Event()
    add(pipe, able.set)
    try:
        await able.wait()
    finally:
        remove(pipe)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
