"""A child process that is asked lines of JSON and answers them, one at a time.

It knows pipes, nothing of what is asked. The pipes are watched by whichever event loop is running,
so one process serves consecutive loops; there are no threads. Needs a POSIX system.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

_CHUNK = 65536


class ProcessFailed(Exception):
    """The process ended, or said what it should not."""


class Child:
    """Running `program`. Once a call raised, or was cancelled, only `kill` may follow."""

    def __init__(self, program: Path, *arguments: str, longest: int) -> None:
        """`longest` reply in bytes; an honest one is below."""
        # -P keeps a file beside the program, or in the working directory, from posing as a library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), *arguments],
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
        self._longest = longest
        self._asked = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Returns when it says that it is; raises `ProcessFailed` if it says anything else."""
        if await self._reply() != {"ready": True}:
            raise ProcessFailed("the first line was not the greeting")

    async def ask(self, request: Mapping[str, object]) -> dict[str, object]:
        """The reply to this request.

        Raises:
            ProcessFailed: it ended, or answered something else.
        """
        self._asked += 1
        await self._write(json.dumps({"id": self._asked, **request}).encode() + b"\n")
        reply = await self._reply()
        if reply.get("id") != self._asked:
            raise ProcessFailed("the reply is to another request")
        return reply

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
            chunk = os.read(self._from, _CHUNK)
            said += chunk
            if not chunk or len(said) > self._longest:
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


def end(process: subprocess.Popen[bytes]) -> int:
    """How it ended: by itself, if it had, with the status or minus the signal; else minus 9."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return process.wait()
