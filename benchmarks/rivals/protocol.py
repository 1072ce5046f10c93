"""What `engine.py` and a contender's process say to each other: one JSON object a line.

The process says `{"ready": ..., "versions": ...}` when its model is loaded, then answers each piece
of work with the seconds it took and the tokens it drew, or with an error's text. It waits for the
next line without spinning, so that contenders can take turns. Standard library only: it runs in
each rival's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Continue one prompt `branches` times by `tokens` tokens each, at temperature 1; where there
    is a `schema` (JSON), by the beginning of a value that fits it, which must be longer than that.
    """

    prompt: Sequence[int]
    text: str
    """The prompt again, for engines that take text; it encodes to exactly these tokens."""
    seed: int
    branches: int
    tokens: int
    schema: str = ""

    @property
    def decoded(self) -> int:
        return self.branches * self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Search: `branches` continuations grow by `segment` tokens; of each generation but the last
    those in `keeps` live on, and each forks into as many as make `branches` again.
    """

    prompt: Sequence[int]
    text: str
    seed: int
    branches: int
    segment: int
    keeps: Sequence[Sequence[int]]

    @property
    def decoded(self) -> int:
        return self.branches * self.segment * (len(self.keeps) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """One branch: at each of `starts`, drop `dropped` tokens from there on, then draw `tokens`.

    `shift` keeps the KV behind the gap and moves it; `reencode` computes it anew. Who cannot shift
    computes it anew in both.
    """

    prompt: Sequence[int]
    text: str
    seed: int
    starts: Sequence[int]
    dropped: int
    tokens: int
    mode: Literal["shift", "reencode"]

    @property
    def decoded(self) -> int:
        return len(self.starts) * self.tokens


Work = Samples | Tree | Prune
_KINDS: dict[str, type[Samples] | type[Tree] | type[Prune]] = {
    kind.__name__: kind for kind in (Samples, Tree, Prune)
}


class Contender(Protocol):
    """An engine with the model loaded. The end token must not end a continuation."""

    @property
    def description(self) -> str:
        """Weight format, build and the settings that were chosen for it."""
        ...

    @property
    def versions(self) -> dict[str, str]: ...

    def prepare(self, work: Work) -> None:
        """What a user does once and not each time; not timed. No token of `work` is computed."""
        ...

    def run(self, work: Work) -> int:
        """Tokens drawn."""
        ...


def encode(work: Work) -> str:
    return json.dumps({"kind": type(work).__name__} | asdict(work))


def serve(load: Callable[[], Contender]) -> None:
    """Answer on what was standard output until standard input ends; anything else that is printed
    goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = load()
    _say(answers, {"ready": contender.description, "versions": contender.versions})
    for line in sys.stdin:
        fields = json.loads(line)
        work = _KINDS[fields.pop("kind")](**fields)
        try:
            answer = _timed(contender, work)
        except Exception as error:  # the edge of the process: told, and the next work may succeed
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answers, answer)


def _timed(contender: Contender, work: Work) -> dict[str, object]:
    contender.prepare(work)
    started = time.perf_counter()
    decoded = contender.run(work)
    seconds = time.perf_counter() - started
    if decoded != work.decoded:
        raise ValueError(f"drew {decoded} tokens, not the {work.decoded} of the work")
    return {"seconds": seconds, "decoded": decoded}


def _say(answers: IO[str], answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
