"""Whether a search makes the engine read a prefix twice: rows that the own engine truly ran for
given tokens, less the distinct prefixes that were needed.

A prefix is told by all its tokens, whichever branch it is on; so the policy's prompt counts once,
and each step once in the verifier's shadow. The last token of what is given waits until more is
given, and runs with that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tiny_model
from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import Row
from benchmarks.searching.methods import METHODS, Settings
from ponder.orchestrator import Runtime, best
from ponder.runtime import open_engine
from ponder.verifiers import ExactEquivalence

WIDTH = 8
STEPS: Settings = {
    "verifier": "self_evaluation",
    "step_tokens": 12,
    "step_stop": (),
    "max_tokens": 48,
    "depth": 4,
}
QUESTION = "A train has 12 cars of 34 seats each. How many seats does it have?"


class Given:
    """What an engine was given."""

    def __init__(self) -> None:
        self.prefixes: set[int] = set()
        """Distinct ones that had to be run."""
        self.tokens = 0

    def take(self, tokens: Sequence[int], start: int) -> None:
        """The tokens from `start` on were given: the one before runs, and the last waits."""
        prefix = 0
        for place, token in enumerate(tokens[:-1]):
            prefix = hash((prefix, token))
            if place >= start - 1:
                self.prefixes.add(prefix)
        self.tokens += len(tokens) - start


class Watched:
    """A branch whose appended text is noted; all else is its own."""

    def __init__(self, branch: Any, given: Given) -> None:  # Any: stands in front of a Branch
        self._branch, self._given = branch, given

    def __getattr__(self, name: str) -> Any:  # Any: whatever the branch has
        return getattr(self._branch, name)

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Watched]:
        forks = self._branch.fork(n, first, name=name)
        return [Watched(branch, self._given) for branch in forks]

    async def append(self, text: str) -> None:
        start = len(self._branch.tokens)
        await self._branch.append(text)
        self._given.take(self._branch.tokens, start)


class Watching:
    """An engine whose branches are watched."""

    def __init__(self, engine: Any) -> None:  # Any: stands in front of an Engine
        self._engine, self.given = engine, Given()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the engine has
        return getattr(self._engine, name)

    async def open(self, prompt: Any, **settings: Any) -> Watched:  # Any: handed on
        branch = await self._engine.open(prompt, **settings)
        self.given.take(branch.tokens, 0)
        return Watched(branch, self.given)


async def _counted(model: str, name: str) -> dict[str, float]:
    method = next(method for method in METHODS if method.name == name)
    engine: Any = Watching(open_engine(model))  # stands in front of an Engine
    try:
        runtime = Runtime(engine, equivalence=ExactEquivalence())
        strategy = method.wide(WIDTH, STEPS) | best()
        await runtime.solve(QUESTION, strategy, seed=1)
        stats = engine.stats()
    finally:
        await engine.close()
    run, needed = stats.prefilled - stats.opened, len(engine.given.prefixes)
    return {
        "repeated": run - needed + stats.recomputed,
        "given": engine.given.tokens,
        "run": run,
        "needed": needed,
        "decoded": stats.decoded,
    }


def prefill(quick: bool) -> Iterator[Row]:
    """All methods on a tiny random model, and on the embedded one unless there is no time."""
    with tempfile.TemporaryDirectory() as folder:
        models = {"tiny random model": str(tiny_model.write(Path(folder) / "tiny"))}
        if not quick:
            models["embedded model"] = "embedded"
        for title, model in models.items():
            for method in METHODS[:3] if quick else METHODS:
                row = Row(metric="prefill", case=f"{title}, {method.name}", contender=OWN)
                row.add(asyncio.run(_counted(model, method.name)))
                yield row
