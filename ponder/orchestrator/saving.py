"""A run's searches in one file: what they go on from, and whose they are (DESIGN idea 3).

Progress is asked for when it is written, not whenever there is some: a file is written at the end,
however the run ends, and on the way as often as takes a twentieth of the time. What a node spent
is noted with its progress, so that the two always fit.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.files import write_whole
from ponder.orchestrator.ledger import Account, Ledger, Spent
from ponder.orchestrator.recount import exhausts
from ponder.orchestrator.trace import Event
from ponder.runtime import InputError
from ponder.verifiers import Question

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 1
_SHARE = 20.0
"""Seconds between two writings for each that a writing takes."""
Progress = Callable[[], object]
Spending = dict[str, list[tuple[Account, Spent]]]
"""Of a node, by fields of `SavedNode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedNode:
    progress: Any  # JSON values, the node's own
    paid: list[tuple[Account, Spent]]
    """For what is in there."""
    beside: list[tuple[Account, Spent]]
    """For opening branches again, in runs that went on from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A run by all that decides it, and what its searches have come to."""

    question: Question
    strategy: str
    """As YAML."""
    engines: dict[str, str]
    """Names by role."""
    seed: int
    budget: Budget
    seconds: float = 0.0
    """On the engine's clock, since it began."""
    nodes: dict[str, SavedNode] = field(default_factory=dict[str, SavedNode])


def begun(
    resume: Path | None,
    *,
    question: Question,
    strategy: str,
    engines: Mapping[str, str],
    seed: int | None,
    budget: Budget | None,
) -> SavedRun:
    """This run: from its beginning, or from what a file holds.

    Raises:
        InputError: the file holds nothing, or something else than was asked for.
    """
    if resume is None:
        return SavedRun(
            question=question,
            strategy=strategy,
            engines=dict(engines),
            seed=secrets.randbits(53) if seed is None else seed,
            budget=budget or Budget(),
        )
    saved = read_search(resume)
    seed = saved.seed if seed is None else seed
    given = {"question": question, "strategy": strategy, "engines": dict(engines), "seed": seed}
    for name, value in given.items():
        kept = getattr(saved, name)
        if kept != value:
            raise InputError(
                f"{str(resume)!r} is a search with {name} {kept!r}, not {value!r}; resume it with "
                "its own, or search anew"
            )
    return replace(saved, budget=saved.budget if budget is None else budget)


def read_search(path: Path) -> SavedRun:
    """What `Saver` wrote.

    Raises:
        InputError: there is nothing, it is damaged, or another version's; says which.
    """
    from pydantic import ValidationError

    try:
        told: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"search {str(path)!r} cannot be read: {error}") from error
    if not isinstance(told, dict) or "search" not in told:
        raise InputError(f"{str(path)!r} holds no search; give a file that --save-search wrote")
    found = cast(dict[str, Any], told)
    if found.get("format") != FORMAT:
        raise InputError(
            f"search {str(path)!r} has format {found.get('format')!r}, and this version of Ponder "
            f"reads {FORMAT}; use the version that saved it, or search again"
        )
    text = _text(found["search"])
    if found.get("checksum") != _checksum(text):
        raise InputError(f"search {str(path)!r} is damaged: its checksum is another; search again")
    try:
        saved: SavedRun = _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"search {str(path)!r}: {first['loc']}: {first['msg']}") from error
    return saved


class Saver:
    """Keeps what a run's searches have come to; writes it, where there is a place to."""

    def __init__(
        self,
        path: Path | None,
        run: SavedRun,
        ledger: Ledger,
        seconds: Callable[[], float],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds` since the run began, on its clock; `now` on that of whoever waits for it."""
        self._path = path
        self._run = run
        self._ledger = ledger
        self._seconds = seconds
        self._now = now
        self._progress: dict[str, Progress] = {}
        self._spent: dict[str, Spending] = {}
        self._due = now()
        self._frozen: SavedRun | None = None

    def save(self, node: str, progress: Progress) -> None:
        """From here on, this is how to save `node`."""
        if self._path is None or self._frozen is not None:
            return
        self._progress[node] = progress
        self._spent[node] = {
            kind: [(account, s) for account, s in spent.items() if account.node == node]
            for kind, spent in (("paid", self._ledger.paid), ("beside", self._ledger.beside))
        }
        if self._now() >= self._due:
            self.write()

    def hear(self, event: Event) -> None:
        """What a budget cut is not saved: with a larger one, the search goes on from before."""
        if self._path is not None and self._frozen is None and exhausts(event):
            self._frozen = self._state()

    def write(self) -> None:
        """Raises `PonderError` where the system refuses."""
        if self._path is None:
            return
        start = self._now()
        text = _text(_adapter().dump_python(self._frozen or self._state(), mode="json"))
        whole = {"format": FORMAT, "checksum": _checksum(text)}
        write_whole(self._path, f'{json.dumps(whole)[:-1]}, "search": {text}}}\n', "search")
        end = self._now()
        self._due = end + _SHARE * (end - start)

    def _state(self) -> SavedRun:
        nodes = {
            node: SavedNode(progress=progress(), **self._spent[node])
            for node, progress in self._progress.items()
        }
        return replace(self._run, seconds=self._seconds(), nodes={**self._run.nodes, **nodes})


def _text(search: object) -> str:
    return json.dumps(search, separators=(",", ":"))


def _checksum(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache
def _adapter() -> TypeAdapter[SavedRun]:
    from pydantic import TypeAdapter

    return TypeAdapter(SavedRun)
