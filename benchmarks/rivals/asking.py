"""What `orchestration.py` and a contender's process say to each other: one JSON object a line.

`{"prepare": ...}` names the work, which is done at `{"go": true}`, so that what a user does once is
not measured. Standard library only: it runs in each rival's environment.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

BOXED = re.compile(r"\\boxed\{([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Answer each question by n samples: by vote, by a judge's scores, or a step at a time."""

    method: Literal["self_consistency", "best_of_n", "beam", "particle_filter"]
    questions: Sequence[str]
    n: int
    url: str
    """Of the endpoint, up to `/v1`."""
    model: str
    at_once: int
    """Questions under way."""
    concurrency: int | None = None
    """Requests under way, where a contender can be told; None leaves it what it is."""
    seed: int = 0
    limit: float = 60.0
    """Seconds a question may take."""
    timeout: float | None = None
    """Seconds a request may take, where a contender can be told."""


@dataclass(slots=True, kw_only=True)
class Answered:
    """What became of one question."""

    answer: str | None = None
    error: str | None = None
    told: int | None = None
    """Tokens that the contender says it cost."""
    flagged: bool = False
    """It says that something went wrong on the way."""
    late: bool = False


class Asker(Protocol):
    """A contender."""

    @property
    def versions(self) -> dict[str, str]: ...

    @property
    def children(self) -> Sequence[int]:
        """Processes that it started, whose CPU time counts as its own."""
        ...

    def prepare(self, ask: Ask) -> None:
        """Not measured."""
        ...

    def go(self, ask: Ask) -> list[Answered]: ...


def total_limit(ask: Ask) -> float:
    """Seconds for all questions."""
    return ask.limit * -(-len(ask.questions) // ask.at_once)


def encode(ask: Ask) -> str:
    return json.dumps({"prepare": asdict(ask)})


def boxed(text: str | None) -> str | None:
    found = BOXED.search(text or "")
    return found[1] if found else None


def serve(load: Callable[[], Asker]) -> None:
    """Answer on what was standard output until standard input ends; anything else that is printed
    goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    asker = load()
    _say(answers, {"ready": type(asker).__name__, "versions": asker.versions})
    ask: Ask | None = None
    for line in sys.stdin:
        given = json.loads(line)
        try:
            if "prepare" in given:
                ask = Ask(**given["prepare"])
                asker.prepare(ask)
                _say(answers, {"prepared": True})
            elif ask is not None:
                _say(answers, _measured(asker, ask))
        except Exception as error:  # the edge of the process: told, and the next work may succeed
            _say(answers, {"error": f"{type(error).__name__}: {error}"})
    os._exit(0)  # threads that hang must not keep the process


def _measured(asker: Asker, ask: Ask) -> dict[str, Any]:  # Any: JSON
    wall, cpu, children = time.perf_counter(), time.process_time(), _ticks(asker.children)
    answered = asker.go(ask)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu + _ticks(asker.children) - children,
        "answered": [asdict(each) for each in answered],
    }


def _ticks(processes: Sequence[int]) -> float:
    """CPU seconds of other processes, to a hundredth."""
    spent = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def _say(answers: IO[str], answer: dict[str, Any]) -> None:  # Any: JSON
    answers.write(json.dumps(answer) + "\n")
