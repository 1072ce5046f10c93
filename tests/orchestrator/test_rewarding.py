"""Searches whose reward model is at an endpoint: the same trees as with one of our own, and a
stated outcome whatever becomes of the endpoint.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from climbing import GOOD, climber
from fault_server import running
from guessing import shuffled
from reward_server import RewardServer, rewarding

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Runtime,
    Status,
    astar,
    beam,
    best,
    dvts,
    from_yaml,
    judge,
    mcts,
    plan,
    rebase,
    recompute,
    sample,
    to_yaml,
)
from ponder.runtime import CapabilityError, open_engine
from ponder.runtime.reward.engine import RewardEngine
from ponder.verifiers import ExactEquivalence

LIMITS: dict[str, Any] = {"step_tokens": 20, "max_tokens": 60, "depth": 6}
PRM: dict[str, Any] = {"verifier_engine": "prm", **LIMITS}
SEARCHES: dict[str, Expression] = {
    "beam": beam("process_reward", width=12, expand=4, **PRM),
    "dvts": dvts("process_reward", width=12, expand=4, **PRM),
    "rebase": rebase("process_reward", width=12, **PRM),
    "astar": astar("process_reward", expand=6, **PRM),
    "mcts": mcts("process_reward", simulations=8, parallel=3, **PRM),
    "min": sample(8, max_tokens=60) | judge("process_reward", engine="prm", aggregate="min"),
    "outcome": sample(8, max_tokens=60) | judge("outcome_reward", engine="prm"),
}


def graded(question: str, steps: Sequence[str]) -> list[float]:
    """As `climbing.reward`: how good the letters are so far, step by step."""
    said = ["".join(steps[: i + 1]).split("\\boxed")[0] for i in range(len(steps))]
    good = [[GOOD[letter] for letter in text if letter in GOOD] for text in said]
    return [math.fsum(each) / len(each) if each else 0.0 for each in good]


def at(server: RewardServer, *, attempts: int = 1, **settings: Any) -> RewardEngine:
    made = open_engine("reward:prm", base_url=server.url, **settings)
    assert isinstance(made, RewardEngine)
    patient = replace(made.contract.endpoint, attempts=attempts)
    return RewardEngine(replace(made.contract, endpoint=patient))


def searched(
    name: str,
    engine: RewardEngine,
    *,
    salt: int = 0,
    concurrency: int = 64,
    budget: Budget | None = None,
) -> Result:
    policy = climber(shuffled(salt))
    runs = Runtime(
        {"policy": policy, "prm": engine}, equivalence=ExactEquivalence(), concurrency=concurrency
    )
    result = asyncio.run(runs.solve("Which?", SEARCHES[name] | best(), seed=3, budget=budget))
    assert (policy.stats().branches, engine.stats().branches) == (0, 0)
    assert recompute(result.trace.events) == result.numbers
    return result


def timeless(result: Result) -> str:
    return json.dumps([{k: v for k, v in e.items() if k != "at"} for e in result.trace.events])


def locally(name: str) -> Expression:
    """The same on one engine of ours."""
    return from_yaml(to_yaml(SEARCHES[name]).replace("engine: prm", "engine: policy"))


def decided(result: Result) -> list[dict[str, Any]]:
    found = [e for e in result.trace.events if e["event"] in ("node", "verdict")]
    cost = ("at", "judged")  # an endpoint is charged for the whole path each time
    return [{key: value for key, value in e.items() if key not in cost} for e in found]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_tree_is_the_one_that_an_engine_of_ours_grows(name: str) -> None:
    own = Runtime(climber(), equivalence=ExactEquivalence())
    want = asyncio.run(own.solve("Which?", locally(name) | best(), seed=3))
    with rewarding(graded) as server:
        got = searched(name, at(server))
        sizes = [len(body["inputs"]) for body in server.asked[1:]]
    assert (got.answer, got.confidence) == (want.answer, want.confidence)
    assert decided(got) == decided(want) != []
    assert sum(sizes) == sum(e["event"] == "call" and e["kind"] == "read" for e in got.trace.events)
    assert max(sizes) > 1 or name in ("min", "outcome")


@pytest.mark.parametrize("share", [None, 0.3, 0.05], ids=str)
@pytest.mark.parametrize("name", SEARCHES)
def test_equal_seeds_give_equal_traces(name: str, share: float | None) -> None:
    with rewarding(graded) as server:
        engine = at(server)
        most = plan(SEARCHES[name] | best(), {"policy": climber(), "prm": engine}).total
        budget = None if share is None else Budget(tokens=int(most.tokens * share))
        runs = [
            searched(name, engine, salt=salt, concurrency=n, budget=budget)
            for n, salt in ((1, 0), (64, 1), (64, 2))
        ]
    assert len(set(map(timeless, runs))) == 1
    assert runs[0].calls <= most.calls
    if budget is None:
        assert runs[0].usage.tokens <= most.tokens


FAULTS = ["nan", "range", "null", "count", "steps", "html", "hangs up", "hang"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_broken_endpoint_is_stated_and_the_run_goes_on(name: str, fault: str) -> None:
    with rewarding(graded) as server:
        engine = at(server, timeout=0.2)
        server.fault = fault
        result = searched(name, engine)
    told = [e for e in result.trace.events if e["event"] in ("node", "verdict")]
    assert told
    assert all(e["score"] is None for e in told)
    assert all("the verifier's engine failed" in e["failure"] for e in told)
    failed = [e for e in result.trace.events if e["event"] == "call" and "error" in e]
    assert {(e["error"], e["purpose"]) for e in failed} == {("EndpointError", "verifier")}
    assert (result.status, result.confidence) == (Status.UNJUDGED, None)
    assert [tally.failures for tally in result.judging] == [len(told)]


class Mortal(RewardServer):
    """Hangs up for good after so many replies."""

    left = 6

    def _rewards(self, body: Any) -> Any:
        self.left -= 1
        if self.left <= 0:
            self.fault = "hangs up"
        return super()._rewards(body)


@pytest.mark.parametrize("name", ["beam", "dvts", "rebase", "astar", "mcts"])
def test_an_endpoint_that_dies_in_the_middle_leaves_the_best_so_far(name: str) -> None:
    with running(Mortal(graded, "rewards", "")) as server:
        engine = at(server)
        server.left = 2  # of requests
        result = searched(name, engine, concurrency=2)
    nodes = [e for e in result.trace.events if e["event"] == "node"]
    assert any(e["score"] is not None for e in nodes)
    assert any("the verifier's engine failed" in (e["failure"] or "") for e in nodes)
    assert result.status is Status.COMPLETE
    assert result.candidates


def test_an_endpoint_that_is_gone_is_not_waited_for_again_and_again() -> None:
    with rewarding(graded) as server:
        engine = at(server)
    result = searched("mcts", engine)
    assert "is it up" in json.dumps([dict(e) for e in result.trace.events])


def test_the_budgets_time_ends_a_read_that_hangs() -> None:
    with rewarding(graded) as server:
        engine = at(server)
        server.fault = "hang"
        result = searched("beam", engine, budget=Budget(seconds=0.3))
    assert result.status is Status.EXHAUSTED
    assert result.candidates


def test_a_reward_model_is_no_policy() -> None:
    with rewarding(graded) as server:
        engine = at(server)
    for strategy in (
        sample(2) | best(),
        beam("process_reward") | best(),
        sample(2) | judge("judge_pointwise", engine="prm") | best(),
        sample(2) | judge("judge_step", engine="prm", aggregate="min") | best(),
    ):
        with pytest.raises(CapabilityError, match=r"decode|prefix_continuation"):
            plan(strategy, {"policy": engine, "prm": engine})
    plan(SEARCHES["beam"] | best(), {"policy": climber(), "prm": engine})
