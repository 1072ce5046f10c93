"""Python functions as potentials: of texts that go on, and of whole ones."""

from __future__ import annotations

import asyncio
import codecs
import math
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from ponder.runtime import InputError, Vocabulary
from ponder.verifiers.child import Child, ProcessFailed

Function = Callable[[str], bool | float]

PROGRAM = Path(__file__).with_name("child.py")
SHOWN = 200
"""Characters of a text's end that an error shows."""
MOST_KNOWN = 100_000
"""Texts whose weights are remembered."""
START = 30.0
"""Seconds that the child may take to start."""
_LONGEST = 10_000_000


class Predicate:
    """Functions of the text drawn so far, which say whether it may go on, or be whole: True, False,
    or a weight in [0, 1].

    They run in one child process, which starts when first asked and is ended when one of them
    hangs. They must always say the same of the same text: it is asked about once.
    """

    def __init__(
        self,
        complete: Function | None = None,
        *,
        prefix: Function | None = None,
        seconds: float = 1.0,
    ) -> None:
        """A potential.

        Args:
            complete: of a whole text; None: it weighs what it weighed before it ended.
            prefix: of a text that goes on. It must not refuse what could still become a whole text
                that is wanted. None: all weigh 1.
            seconds: that one call may take.

        Raises:
            InputError: no function was given, `seconds` is not above 0, or the `constraints` extra
                is not installed.
        """
        if complete is None and prefix is None:
            raise InputError("a Predicate needs a function: give complete, prefix or both")
        if not 0 < seconds < math.inf:
            raise InputError(f"seconds is {seconds!r}; it must be above 0")
        if find_spec("cloudpickle") is None:
            raise InputError(
                "a Predicate needs cloudpickle, which is not installed; "
                "run: pip install 'ponder[constraints]'"
            )
        given = {"complete": complete, "prefix": prefix}
        self._functions = {name: f for name, f in given.items() if f is not None}
        self._seconds = seconds
        self._child: Child | None = None
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._known: dict[tuple[str, str], float] = {}

    def begin(self, vocabulary: Vocabulary) -> PredicateGuide:
        return PredicateGuide(predicate=self, vocabulary=vocabulary)

    async def close(self) -> None:
        """End the child; whoever asks again starts another."""
        self._drop()

    async def weights(self, texts: Sequence[str], *, whole: bool) -> list[float]:
        """In [0, 1]. Raises `InputError`: a function failed, and how, on which text."""
        which = "complete" if whole and "complete" in self._functions else "prefix"
        if which not in self._functions:
            return [1.0] * len(texts)
        new = [t for t in dict.fromkeys(texts) if (which, t) not in self._known]
        found = dict(zip(new, await self._asked(which, new), strict=True)) if new else {}
        weights = [found[t] if t in found else self._known[which, t] for t in texts]
        self._known.update({(which, text): weight for text, weight in found.items()})
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return weights

    async def _asked(self, which: str, texts: Sequence[str]) -> list[float]:
        async with self._lock():
            served = False
            try:
                child = await self._running()
                limit = self._seconds * len(texts) + START
                request = {"which": which, "texts": list(texts), "seconds": self._seconds}
                async with asyncio.timeout(limit):  # a hang that no signal reaches
                    reply = await child.ask(request)
                served = True
            except (TimeoutError, ProcessFailed) as error:
                how = "ended its process" if isinstance(error, ProcessFailed) else "hung"
                raise InputError(f"{self._name(which)} {how}, on one of {_shown(texts)}") from error
            finally:
                # Whoever is cancelled leaves a child at work: its reply would answer the next.
                if not served:
                    self._drop()
        weights = cast("list[float]", reply["weights"])
        if "failed" in reply:
            where = texts[len(weights)]
            raise InputError(f"{self._name(which)} {reply['failed']}, on {_shown([where])}")
        return weights

    async def _running(self) -> Child:
        if self._child is None:
            import cloudpickle  # type: ignore[import-untyped] # it has no stubs

            pickled: bytes = cloudpickle.dumps(self._functions)  # pyright: ignore[reportUnknownMemberType] - as above
            functions = b64encode(pickled).decode()
            self._child = Child(PROGRAM, longest=_LONGEST)
            async with asyncio.timeout(START):
                await self._child.ready()
                reply = await self._child.ask({"functions": functions, "path": sys.path})
            if "failed" in reply:
                self._drop()
                raise InputError(
                    f"the functions of a Predicate cannot be read in another process: "
                    f"{reply['failed']}; define them where they can be imported, or by themselves"
                )
        return self._child

    def _name(self, which: str) -> str:
        name = getattr(self._functions[which], "__qualname__", repr(self._functions[which]))
        return f"the predicate's {which} function {name!r}"

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        return self._turn[1]

    def _drop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateGuide:
    predicate: Predicate
    vocabulary: Vocabulary
    spelt: bytes = b""
    """All that was drawn; it may end inside a character, which functions are not shown."""
    weight: float = 1.0

    def mask(self) -> None:
        return None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        texts = [self._with(token) for token in tokens]
        whole = [token in self.vocabulary.ends for token in tokens]
        found = dict[tuple[str, bool], float]()
        for kind in (False, True):
            asked = [t for t, w in zip(texts, whole, strict=True) if t is not None and w is kind]
            weights = await self.predicate.weights(asked, whole=kind) if asked else []
            found.update({(t, kind): w for t, w in zip(asked, weights, strict=True)})
        return [
            -math.inf if text is None else self._ratio(found[text, w])
            for text, w in zip(texts, whole, strict=True)
        ]

    async def after(self, token: int) -> PredicateGuide:
        spelling = self.vocabulary.spelling(token)
        text = self._with(token)
        if spelling is None or text is None:
            raise InputError(f"token {token!r} may not come; ask weigh() first")
        (weight,) = await self.predicate.weights([text], whole=False)
        return replace(self, spelt=self.spelt + spelling, weight=weight)

    def _ratio(self, weight: float) -> float:
        both = weight > 0 and self.weight > 0
        return math.log(weight) - math.log(self.weight) if both else -math.inf

    def _with(self, token: int) -> str | None:
        """The text with this token, as functions are shown it; None where it may not come."""
        over = token in self.vocabulary.ends
        spelling = b"" if over else self.vocabulary.spelling(token)
        if spelling is None:
            return None
        try:
            decoder = codecs.getincrementaldecoder("utf-8")()
            return decoder.decode(self.spelt + spelling, final=over)
        except UnicodeDecodeError:
            return None


def _shown(texts: Sequence[str]) -> str:
    text = texts[0]
    one = repr(text if len(text) <= SHOWN else f"...{text[-SHOWN:]}")
    return one if len(texts) == 1 else f"{len(texts)} texts such as {one}"
