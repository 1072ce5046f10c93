"""How much a method has to draw to be as often right: every line of the table at every budget, on
the same items of an oracle, through the whole of Ponder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from benchmarks.searching.lines import TREE, Line
from benchmarks.searching.oracle import ANSWER, ChainEngine, Oracle, question
from ponder.orchestrator import Expression, Runtime
from ponder.orchestrator.searches import SearchSettings
from ponder.verifiers import ExactEquivalence

CHUNK = 10
Lines = Callable[[], Sequence[Line]]
"""A table of lines, by the name of a function, as other processes know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An oracle, and how the trees make one number of a path's scores."""

    oracle: Oracle
    items: int
    aggregate: str = "last"
    most: int | None = None
    """Largest budget; None for all."""

    @property
    def name(self) -> str:
        return self.oracle.name


def settings(items: int, *, quick: bool) -> list[Setting]:
    """All were fixed before any result was seen: the first is the one that floors are held to, the
    others show what it hangs on, with a fifth of the items.
    """
    if quick:
        return [Setting(oracle=Oracle(name="AUC 0.9", auc=0.9), items=4, most=8)]
    few = max(1, items // 5)
    return [
        Setting(oracle=Oracle(name="AUC 0.9", auc=0.9), items=items),
        Setting(oracle=Oracle(name="AUC 0.7", auc=0.7), items=few),
        Setting(oracle=Oracle(name="AUC 0.99", auc=0.99), items=few),
        Setting(oracle=Oracle(name="AUC 0.9, 16 steps", auc=0.9, depth=16), items=few),
        Setting(oracle=Oracle(name="AUC 0.9, by the mean", auc=0.9), items=few, aggregate="mean"),
    ]


Point = tuple[str, int]
"""A line's name and a budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One item, answered once."""

    right: bool
    tokens: int
    """Drawn by the policy."""
    passes: int
    """Prefixes that the reward model scored."""


def runs(setting: Setting, lines: Lines) -> dict[Point, list[Run]]:
    """By point, in order of items."""
    chunks = [range(i, min(i + CHUNK, setting.items)) for i in range(0, setting.items, CHUNK)]
    found: dict[Point, list[Run]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(_some, repeat(setting), repeat(lines), chunks):
            for point, several in part.items():
                found.setdefault(point, []).extend(several)
    return found


def _some(setting: Setting, lines: Lines, items: range) -> dict[Point, list[Run]]:
    return asyncio.run(answered(setting, lines(), items))


async def answered(
    setting: Setting, lines: Sequence[Line], items: Sequence[int]
) -> dict[Point, list[Run]]:
    runtime = Runtime(ChainEngine(setting.oracle), equivalence=ExactEquivalence())
    tree: SearchSettings = {**TREE, "aggregate": setting.aggregate}
    return {
        (line.name, budget): [
            await _answered(runtime, line.make(budget, tree), item) for item in items
        ]
        for line in lines
        for budget in line.budgets
        if setting.most is None or budget <= setting.most
    }


async def _answered(runtime: Runtime, strategy: Expression, item: int) -> Run:
    result = await runtime.solve(question(item), strategy, seed=item)
    usage = result.usage.total
    return Run(right=result.answer == ANSWER, tokens=usage.decoded, passes=usage.scored)
