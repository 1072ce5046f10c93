"""Ponder as a contender: its public engine, all branches at once, as a user would drive it.

An end token is followed by another `extend`, so every continuation has its full length.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.rivals.protocol import Prune, Samples, Tree, Work, serve
from ponder import runtime
from ponder.runtime import Branch, BranchPath, Grammar, Sampling, describe_platform, open_engine


class Own:
    """A `Contender`."""

    def __init__(self, weights: str) -> None:
        self._engine = open_engine("embedded", weights=weights)
        self._loop = asyncio.Runner()
        self.description = self._engine.name
        self.versions = {
            "ponder": version("ponder"),
            "instruction set": describe_platform().instruction_set or "none, torch",
        }

    def prepare(self, work: Work) -> None:
        if self._engine.count(work.text) != len(work.prompt):
            raise ValueError("the prompt's text does not encode to its tokens")

    def run(self, work: Work) -> int:
        if isinstance(work, Samples):
            return self._loop.run(self._samples(work))
        if isinstance(work, Tree):
            return self._loop.run(self._tree(work))
        return self._loop.run(self._prune(work))

    async def _samples(self, work: Samples) -> int:
        async with await self._engine.open(work.text, path=BranchPath(work.seed)) as root:
            branches = root.fork(work.branches) if work.branches > 1 else [root]
            form = Grammar(kind="json_schema", text=work.schema) if work.schema else None
            drawn = await asyncio.gather(*(_draw(b, work.tokens, form) for b in branches))
            _close(branches)
        return sum(drawn)

    async def _tree(self, work: Tree) -> int:
        drawn = 0
        async with await self._engine.open(work.text, path=BranchPath(work.seed)) as root:
            branches = list(root.fork(work.branches))
            for keep in [*work.keeps, ()]:
                drawn += sum(await asyncio.gather(*(_draw(b, work.segment) for b in branches)))
                kept = [branches[i].fork(work.branches // len(keep)) for i in keep]
                _close(branches)
                branches = [child for children in kept for child in children]
        return drawn

    async def _prune(self, work: Prune) -> int:
        # The name comes with pruning inside a branch; until then this contender says so.
        modes = getattr(runtime, "SpliceMode", None)
        if modes is None:
            raise NotImplementedError("not available yet: branches have no splice")
        drawn = 0
        async with await self._engine.open(work.text, path=BranchPath(work.seed)) as branch:
            for start in work.starts:
                mode = modes[work.mode.upper()]
                await branch.splice(start, start + work.dropped, mode=mode)
                drawn += await _draw(branch, work.tokens)
        return drawn


async def _draw(branch: Branch, tokens: int, grammar: Grammar | None = None) -> int:
    drawn = 0
    while drawn < tokens:
        rule = Sampling(max_tokens=tokens - drawn, grammar=grammar)
        drawn += len((await branch.extend(rule)).tokens)
    return drawn


def _close(branches: Sequence[Branch]) -> None:
    for branch in branches:
        branch.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="float32")
    weights = parser.parse_args().weights
    serve(lambda: Own(weights))
