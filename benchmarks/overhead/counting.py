"""What the endpoint counts: the truth that contenders' own numbers are held against."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from benchmarks.overhead.script import Fault, tokens

_BLOCK = 64
"""Characters; prefixes are told apart in whole blocks."""


@dataclass(slots=True, kw_only=True)
class Problem:
    """Replies that were sent about one question."""

    samples: int = 0
    faults: int = 0
    """Replies that were none: errors, hangs, malformed ones."""
    judged: dict[str, bool] = field(default_factory=dict[str, bool])
    """By the judge's prompt: whether there was a verdict in the end."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """Since the last reset."""

    requests: int = 0
    choices: int = 0
    """Replies that were whole."""
    prompt_tokens: int = 0
    repeated_tokens: int = 0
    """Of the prompts: prefixes that were sent before."""
    completion_tokens: int = 0
    told_tokens: int = 0
    """What whole replies said that they cost."""
    in_flight: int = 0
    most_in_flight: int = 0
    connections: int = 0
    """That brought at least one request."""
    left: int = 0
    """Requests whose client hung up before the reply."""
    faults: Counter[str] = field(default_factory=Counter[str])
    problems: dict[int | None, Problem] = field(default_factory=dict[int | None, Problem])
    """By the question's number; None is of no known question."""
    _digests: list[bytes] = field(default_factory=list[bytes])
    _seen: set[int] = field(default_factory=set[int])
    _request_seconds: float = 0.0
    _busy_seconds: float = 0.0
    _changed: float = 0.0

    def begin(self, prompt: str, body: bytes) -> None:
        """A request came."""
        self._move(+1)
        self.requests += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.prompt_tokens += tokens(prompt)
        self.repeated_tokens += tokens(prompt[: self._known(prompt)])
        self._digests.append(blake2b(body, digest_size=8).digest())

    def end(self) -> None:
        """It was answered, or its client left."""
        self._move(-1)

    def whole(
        self, number: int | None, choices: int, judged: str | None, told: dict[str, int]
    ) -> None:
        """A reply that is as it should be was sent; `judged` is the prompt of a judge."""
        self.choices += choices
        self.completion_tokens += told["completion_tokens"]
        self.told_tokens += told["total_tokens"]
        about = self._about(number)
        if judged is None:
            about.samples += choices
        else:
            about.judged[judged] = True

    def wrong(self, number: int | None, kind: Fault, judged: str | None) -> None:
        self.faults[kind.value] += 1
        about = self._about(number)
        about.faults += 1
        if judged is not None:
            about.judged.setdefault(judged, False)

    def told(self) -> dict[str, Any]:  # Any: JSON
        """As JSON; the log is a digest of all bodies, whatever their order."""
        names = [name for name in self.__slots__ if not name.startswith("_")]
        plain = {name: getattr(self, name) for name in names}
        busy = self._busy_seconds
        return plain | {
            "faults": dict(self.faults),
            "problems": {
                number: [about.samples, about.faults, list(about.judged.values()).count(False)]
                for number, about in self.problems.items()
            },
            "mean_in_flight": self._request_seconds / busy if busy else 0.0,
            "log": blake2b(b"".join(sorted(self._digests)), digest_size=8).hexdigest(),
        }

    def _about(self, number: int | None) -> Problem:
        return self.problems.setdefault(number, Problem())

    def _known(self, prompt: str) -> int:
        """Characters at its beginning that were sent before, in whole blocks or all."""
        known = 0
        for stop in [*range(_BLOCK, len(prompt), _BLOCK), len(prompt)]:
            key = hash(prompt[:stop])
            if key in self._seen:
                known = stop
            self._seen.add(key)
        return known

    def _move(self, change: int) -> None:
        now = time.perf_counter()
        if self.in_flight:
            self._busy_seconds += now - self._changed
            self._request_seconds += self.in_flight * (now - self._changed)
        self._changed = now
        self.in_flight += change
