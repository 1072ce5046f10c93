"""Python functions as potentials: of texts that go on, and of whole ones."""

from __future__ import annotations

import asyncio
import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from ponder.runtime import InputError, Vocabulary
from ponder.verifiers.potentials.functions import Function, Functions, shown

MOST_KNOWN = 20_000
"""Texts whose weights are remembered, those that were asked about last."""


class Predicate:
    """Functions of the text drawn so far, which say whether it may go on, or be whole: True, False,
    or a weight in [0, 1].

    They run in one child process, which starts when first asked and is ended when one of them
    hangs. They must always say the same of the same text: it is not asked about again while it is
    remembered. One event loop at a time.
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
        self._functions = Functions({n: f for n, f in given.items() if f is not None}, seconds)
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._known: dict[tuple[str, str], float] = {}

    def begin(self, vocabulary: Vocabulary) -> PredicateGuide:
        return PredicateGuide(predicate=self, vocabulary=vocabulary)

    async def close(self) -> None:
        """End the child; whoever asks again starts another."""
        self._functions.drop()

    async def weights(self, texts: Sequence[str], *, whole: bool) -> list[float]:
        """In [0, 1]. Raises `InputError`: a function failed, and how, on which text."""
        which = "complete" if whole and "complete" in self._functions else "prefix"
        if which not in self._functions:
            return [1.0] * len(texts)
        keys = [(which, text) for text in texts]
        if all(key in self._known for key in keys):
            return self._recalled(keys)
        async with self._lock():
            new = [key for key in dict.fromkeys(keys) if key not in self._known]
            found = await self._functions.weights(which, [t for _, t in new]) if new else []
            self._known.update(zip(new, found, strict=True))
        return self._recalled(keys)

    def _recalled(self, keys: Sequence[tuple[str, str]]) -> list[float]:
        """All of them are known; they go to the end of the queue of what is forgotten."""
        weights = [self._known[key] for key in keys]
        for key in dict.fromkeys(keys):
            self._known[key] = self._known.pop(key)
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return weights

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        return self._turn[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateGuide:
    predicate: Predicate
    vocabulary: Vocabulary
    text: str = ""
    unfinished: bytes = b""
    """Of a character that the last token began; functions are not shown it."""
    weight: float = 1.0

    def mask(self) -> None:
        return None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        """Raises `InputError` too where the text weighs nothing, and would weigh something with one
        of the tokens: the functions contradict each other.
        """
        texts = [self._text(token) for token in tokens]
        whole = [token in self.vocabulary.ends for token in tokens]
        found = dict[tuple[str, bool], float]()
        for kind in (False, True):
            asked = [t for t, w in zip(texts, whole, strict=True) if t is not None and w is kind]
            weights = await self.predicate.weights(asked, whole=kind)
            found.update({(t, kind): w for t, w in zip(asked, weights, strict=True)})
        return [
            -math.inf if text is None else self._ratio(text, found[text, w])
            for text, w in zip(texts, whole, strict=True)
        ]

    async def after(self, token: int) -> PredicateGuide:
        spelling = self.vocabulary.spelling(token)
        text, unfinished = self._decoded(spelling)
        if text is None or spelling is None:
            raise InputError(f"token {token!r} may not come; ask weigh() first")
        (weight,) = await self.predicate.weights([text], whole=False)
        self._ratio(text, weight)
        return replace(self, text=text, unfinished=unfinished, weight=weight)

    def _ratio(self, text: str, weight: float) -> float:
        if self.weight == 0 < weight:
            raise InputError(
                f"a Predicate contradicts itself: {shown(self.text)} weighs 0, but {shown(text)}, "
                f"which goes on or ends it, weighs {weight!r}; `prefix` may refuse only what "
                "cannot become a text that is wanted"
            )
        return math.log(weight) - math.log(self.weight) if weight > 0 else -math.inf

    def _text(self, token: int) -> str | None:
        """With this token, as functions are shown it; None where it may not come."""
        if token in self.vocabulary.ends:
            return None if self.unfinished else self.text
        return self._decoded(self.vocabulary.spelling(token))[0]

    def _decoded(self, spelling: bytes | None) -> tuple[str | None, bytes]:
        """The text, None where no text is spelt so, and what is unfinished behind it."""
        if spelling is None:
            return None, b""
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            more = decoder.decode(self.unfinished + spelling)
        except UnicodeDecodeError:
            return None, b""
        unfinished = decoder.getstate()[0]
        # Python waits for a third byte of half a surrogate pair, which no byte makes valid.
        if unfinished[:1] == b"\xed" and unfinished[1:2] >= b"\xa0":
            return None, b""
        return self.text + more, unfinished
