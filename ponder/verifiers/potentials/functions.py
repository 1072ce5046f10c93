"""A user's functions of texts, in a child process that is replaced when one of them ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from ponder.runtime import InputError
from ponder.verifiers.child import Child, ProcessFailed

Function = Callable[[str], bool | float]

PROGRAM = Path(__file__).with_name("child.py")
SHOWN = 200
"""Characters of a text's end that an error shows."""
START = 30.0
"""Seconds that the child may take to start; and to answer, beyond what its own alarm allows."""
_LONGEST = 10_000_000


class _Ended(Exception):
    """The process did, or had to be: how."""


class Functions:
    """One call at a time. The process starts when first asked."""

    def __init__(self, functions: Mapping[str, Function], seconds: float) -> None:
        """`seconds` that one call of a function may take."""
        self._functions = dict(functions)
        self._seconds = seconds
        self._child: Child | None = None

    def __contains__(self, which: str) -> bool:
        return which in self._functions

    async def weights(self, which: str, texts: Sequence[str]) -> list[float]:
        """In [0, 1]. Raises `InputError`: the function failed, and how, on which text."""
        try:
            return await self._ask(which, texts)
        except _Ended as error:
            if len(texts) == 1:
                raise InputError(f"{self._name(which)} {error}, on {shown(texts[0])}") from error
        # It cannot say which one it was; the one that ends it alone is named.
        return [weight for text in texts for weight in await self.weights(which, [text])]

    def drop(self) -> int:
        """End the process, and say how it ended: 0 where there was none."""
        child, self._child = self._child, None
        return 0 if child is None else cast("int", child.kill())

    async def _ask(self, which: str, texts: Sequence[str]) -> list[float]:
        child = await self._running()
        request = {"which": which, "texts": list(texts), "seconds": self._seconds}
        reply = await self._reply(child, request, self._seconds * len(texts) + START)
        weights = cast("list[float]", reply["weights"])
        if "failed" in reply:
            where = shown(texts[len(weights)])
            raise InputError(f"{self._name(which)} {reply['failed']}, on {where}")
        return weights

    async def _running(self) -> Child:
        if self._child is not None:
            return self._child
        functions = b64encode(self._pickled()).decode()
        self._child = Child(PROGRAM, longest=_LONGEST)
        request = {"functions": functions, "path": sys.path}
        try:
            reply = await self._reply(self._child, request, START, greeted=False)
        except _Ended as error:
            raise InputError(f"the process for a Predicate's functions {error}") from error
        if "failed" in reply:
            self.drop()
            raise InputError(
                f"the functions of a Predicate cannot be read in another process: "
                f"{reply['failed']}; define them in a module that can be imported from there, "
                "or inside of another function"
            )
        return self._child

    async def _reply(
        self, child: Child, request: Mapping[str, object], limit: float, *, greeted: bool = True
    ) -> dict[str, object]:
        served = False
        try:
            async with asyncio.timeout(limit):
                if not greeted:
                    await child.ready()
                reply = await child.ask(request)
            served = True
        except TimeoutError as error:
            raise _Ended(f"hung for {limit} s") from error
        except ProcessFailed as error:
            raise _Ended(self._told(self.drop())) from error
        finally:
            # Whoever is cancelled leaves a child at work: its reply would answer the next.
            if not served:
                self.drop()
        return reply

    def _pickled(self) -> bytes:
        import cloudpickle  # type: ignore[import-untyped] # it has no stubs

        try:
            data: bytes = cloudpickle.dumps(self._functions)  # pyright: ignore[reportUnknownMemberType] - as above
            return data
        except Exception as error:  # what they hold has its own ways to refuse
            raise InputError(
                f"the functions of a Predicate cannot be sent to another process: {error}; "
                "they may hold nothing that is bound to this one, such as locks and open files"
            ) from error

    def _told(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"did not return within {self._seconds} s"
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return f"ended its process {how}"

    def _name(self, which: str) -> str:
        name = getattr(self._functions[which], "__qualname__", repr(self._functions[which]))
        return f"the predicate's {which} function {name!r}"


def shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"...{text[-SHOWN:]}")
