"""A search on the own engine, a tiny random model with a head, broken off and resumed on another
engine of the same model.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_llama import CONFIG, tiny

from ponder.orchestrator import Budget, Result, Runtime, best, dvts
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.kernels import native
from ponder.runtime.models.heads import Affine, Head
from ponder.verifiers import ExactEquivalence

MODEL = tiny(replace(CONFIG, head_dim=16))
SCORE = Head(layers=(Affine(weight=torch.full((1, CONFIG.hidden), 0.01)),), outputs="sigmoid")
STRATEGY = (
    dvts(
        "process_reward", width=6, expand=3, depth=4, step_tokens=6, max_tokens=24, step_stop=("e",)
    )
    | best()
)


def solved(
    budget: Budget | None,
    after: int | None = None,
    *,
    save_search: Path | None = None,
    resume: Path | None = None,
) -> Result | None:
    """None where it was broken off, after so many calls."""

    async def run() -> Result:
        engine = LocalEngine(MODEL, pages=400, threads=1, heads={"score": SCORE})
        task, calls = asyncio.current_task(), 0

        def count(_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == after and task is not None:
                task.cancel()

        try:
            runtime = Runtime(engine, equivalence=ExactEquivalence())
            return await runtime.solve(
                "Why?",
                STRATEGY,
                seed=3,
                budget=budget,
                on_event=count,
                save_search=save_search,
                resume=resume,
            )
        finally:
            assert engine.stats().branches == 0
            await engine.close()

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return None


def told(result: Result | None) -> object:
    assert result is not None
    nodes = [{**e, "at": 0} for e in result.trace.events if e["event"] == "node"]
    assert len(nodes) > 12
    return json.dumps(nodes), result.candidates, result.status


@pytest.mark.skipif(not native.instruction_sets(), reason="the native step was not built")
@pytest.mark.parametrize("budget", [None, Budget(tokens=700)], ids=str)
def test_a_search_goes_on_on_another_engine(budget: Budget | None, tmp_path: Path) -> None:
    """To the bit: no token depends on whether KV was kept or computed again."""
    whole = told(solved(budget))
    for after in (9, 25, 50):
        assert solved(budget, after, save_search=tmp_path / "search") is None
        assert told(solved(budget, resume=tmp_path / "search")) == whole
