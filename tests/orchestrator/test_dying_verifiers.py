"""A step verifier's engine in this process that dies, from the first call on or in the middle: the
search ends with its best so far, and says of every step since why it has no score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from breaking import Stop
from climbing import climb, climber, reward
from guessing import Dying, shuffled
from test_searching import SEARCHES
from tiny_llama import CONFIG, tiny

from ponder.orchestrator import Budget, Expression, Result, Runtime, Status, Step, beam, best, plan
from ponder.orchestrator import recompute as recomputed
from ponder.runtime import Engine, ModelError, ScriptedEngine
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models.heads import Affine, Head
from ponder.verifiers import ExactEquivalence

DEATH = "the verifier's engine failed: "


def apart(search: Expression) -> Expression:
    """The same, judged by another engine than the policy's."""
    assert isinstance(search, Step)
    settings: Any = search.strategy
    return replace(search, strategy=replace(settings, verifier_engine="prm"))


def solved(
    search: Expression,
    engines: Mapping[str, Engine],
    *,
    concurrency: int = 64,
    budget: Budget | None = None,
    resume: Path | None = None,
) -> Result:
    runs = Runtime(engines, equivalence=ExactEquivalence(), concurrency=concurrency)
    result = asyncio.run(
        runs.solve("Which?", search | best(), seed=3, budget=budget, resume=resume)
    )
    assert recomputed(result.trace.events) == result.numbers
    assert {engine.stats().branches for engine in engines.values()} == {0}
    return result


def mortal(left: int) -> Dying:
    engine = Dying(climb, heads={"score": reward}, name="prm")
    engine.left = left
    return engine


def nodes(result: Result) -> list[dict[str, Any]]:
    return [dict(event) for event in result.trace.events if event["event"] == "node"]


def stated(result: Result) -> list[str]:
    return [node["failure"] for node in nodes(result) if node["failure"]]


@pytest.mark.parametrize("share", [None, 0.3], ids=str)
@pytest.mark.parametrize("left", [-1, 0, 9, 30])
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_ends_with_its_best_so_far(name: str, left: int, share: float | None) -> None:
    search = apart(SEARCHES[name])
    most = plan(search | best(), {"policy": climber(), "prm": climber()}).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    result = solved(search, {"policy": climber(), "prm": mortal(left)}, budget=budget)
    scored = [node for node in nodes(result) if node["score"] is not None]
    assert result.candidates
    if left == 30:
        assert scored
    assert budget or all(DEATH in failure for failure in stated(result))
    if left < 1:
        assert len(stated(result)) == len(nodes(result)) > 0
    if budget is None:
        assert result.status is (Status.COMPLETE if scored else Status.UNJUDGED)
        (tally,) = result.judging
        assert (tally.verdicts, tally.failures) == (len(nodes(result)), len(stated(result)))


@pytest.mark.parametrize("name", SEARCHES)
def test_one_that_is_dead_from_the_start_gives_equal_traces(name: str) -> None:
    search = apart(SEARCHES[name])
    runs = [
        solved(search, {"policy": climber(shuffled(n)), "prm": mortal(-1)}, concurrency=n)
        for n in (1, 64)
    ]
    assert runs[0].trace.jsonl() == runs[1].trace.jsonl()


@pytest.mark.parametrize("name", SEARCHES)
def test_the_policys_own_death_ends_the_run(name: str) -> None:
    policy = mortal(12)
    runs = Runtime({"policy": policy, "prm": climber()}, equivalence=ExactEquivalence())
    with pytest.raises(ModelError, match="the machine is gone"):
        asyncio.run(runs.solve("Which?", apart(SEARCHES[name]) | best(), seed=3))
    assert policy.stats().branches == 0


@pytest.mark.parametrize("name", ["beam", "whole paths", "mcts"])
def test_a_search_begun_without_its_verifier_is_resumed_with_it(name: str, tmp_path: Path) -> None:
    search, path = apart(SEARCHES[name]), tmp_path / "search"

    async def begun() -> None:
        stop = Stop(3, task=asyncio.current_task())
        engines = {"policy": climber(), "prm": mortal(-1)}
        runs = Runtime(engines, equivalence=ExactEquivalence())
        await runs.solve("Which?", search | best(), seed=3, save_search=path, on_event=stop)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(begun())
    result = solved(search, {"policy": climber(), "prm": climber_named("prm")}, resume=path)
    assert not stated(result)
    assert any(node["score"] is not None for node in nodes(result))


def climber_named(name: str) -> ScriptedEngine:
    return ScriptedEngine(climb, heads={"score": reward}, name=name)


@pytest.mark.parametrize("steps", [0, 2, 4])
def test_the_own_engine_as_a_reward_model_may_die(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread does, in the middle of a step."""
    from ponder.runtime.runners.torch_llama import Llama

    hidden, made = Llama.hidden, 0

    def dying(self: Llama, *given: Any) -> torch.Tensor:
        nonlocal made
        made += 1
        if made > steps:
            raise ZeroDivisionError("boom")
        return hidden(self, *given)

    monkeypatch.setattr(Llama, "hidden", dying)
    head = Head(layers=(Affine(weight=torch.full((1, CONFIG.hidden), 0.01)),), outputs="sigmoid")
    engine = LocalEngine(tiny(ends=False), pages=400, threads=1, heads={"score": head})
    try:
        search = beam("process_reward", verifier_engine="prm", width=4, expand=2, max_tokens=60)
        result = solved(search, {"policy": climber(), "prm": engine})
    finally:
        asyncio.run(engine.close())
    assert result.candidates
    assert all(DEATH in failure and "boom" in failure for failure in stated(result))
    assert len(stated(result)) == sum(node["score"] is None for node in nodes(result)) > 0
