"""Tree searches on an engine: what they find, what they cost, and what becomes of bad verifiers and
bad policies.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import pytest
from climbing import GOOD, climber
from guessing import runtime, shuffled

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Status,
    ab_mcts,
    ab_mcts_m,
    astar,
    beam,
    best,
    dvts,
    from_yaml,
    mcts,
    parallel_tempering,
    particle_filter,
    particle_gibbs,
    plan,
    rebase,
    recompute,
    to_yaml,
    vote,
)
from ponder.runtime import CapabilityError, ScriptedEngine

SEARCHES: dict[str, Expression] = {
    "beam": beam("process_reward", width=12, expand=4, step_tokens=20, max_tokens=60, depth=6),
    "dvts": dvts("process_reward", width=12, expand=4, step_tokens=20, max_tokens=60, depth=6),
    "rebase": rebase("process_reward", width=12, step_tokens=20, max_tokens=60, depth=6),
    "astar": astar("process_reward", expand=6, step_tokens=20, max_tokens=60, depth=6),
    "astar in parallel": astar(
        "process_reward",
        expand=8,
        parallel=4,
        path_cost="drop",
        goals=2,
        aggregate="min",
        step_tokens=20,
        max_tokens=60,
        depth=6,
    ),
    "mcts": mcts(
        "process_reward", simulations=8, parallel=3, step_tokens=20, max_tokens=60, depth=6
    ),
    "ab-mcts": ab_mcts("process_reward", most_steps=120, step_tokens=20, max_tokens=60, depth=6),
    "ab-mcts-m": ab_mcts_m(
        "process_reward", most_steps=120, step_tokens=20, max_tokens=60, depth=6
    ),
    "lookahead": beam(
        "process_reward",
        width=12,
        expand=4,
        lookahead=2,
        step_tokens=20,
        max_tokens=60,
        depth=6,
    ),
    "looking ahead over whole paths": rebase(
        "process_reward",
        width=16,
        aggregate="model",
        lookahead=1,
        step_tokens=20,
        max_tokens=60,
        depth=6,
    ),
    "particle filter": particle_filter(
        "process_reward", particles=12, step_tokens=20, max_tokens=60, depth=6
    ),
    "particle gibbs": particle_gibbs(
        "process_reward", particles=6, iterations=3, step_tokens=20, max_tokens=60, depth=6
    ),
    "parallel tempering": parallel_tempering(
        "process_reward", particles=8, iterations=2, step_tokens=20, max_tokens=60, depth=6
    ),
    "whole paths": beam(
        "process_reward",
        width=8,
        expand=4,
        aggregate="model",
        step_tokens=20,
        max_tokens=60,
        depth=6,
    ),
}


def endless(prompt: str) -> Mapping[str, float]:
    return {"x\n\n" * 1000: 1.0}


def searched(
    search: Expression,
    engine: ScriptedEngine,
    *,
    seed: int = 0,
    concurrency: int = 64,
    budget: Budget | None = None,
) -> Result:
    strategy = search | best()
    result = asyncio.run(
        runtime(engine, concurrency).solve("Which?", strategy, seed=seed, budget=budget)
    )
    assert engine.stats().branches == 0
    assert recompute(result.trace.events) == result.numbers
    return result


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_find_what_sampling_does_not(name: str) -> None:
    """The best path has probability 1 in 1,000; a search by its steps finds it, or one nearly as
    good, most of the time.
    """
    scores = [searched(SEARCHES[name], climber(), seed=seed).confidence or 0 for seed in range(20)]
    assert sum(scores) / 20 > 0.55  # of a single sample: 0.39
    assert max(scores) > 0.79


@pytest.mark.parametrize("share", [None, 0.3, 0.03, 0.005], ids=str)
@pytest.mark.parametrize("name", SEARCHES)
def test_equal_seeds_give_equal_traces(name: str, share: float | None) -> None:
    search = SEARCHES[name]
    most = plan(search | best(), climber()).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    for seed in range(2):
        runs = [
            searched(
                search, climber(shuffled(salt)), seed=seed, concurrency=concurrency, budget=budget
            )
            for concurrency, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({run.trace.jsonl() for run in runs}) == 1
        if budget is not None:
            assert runs[0].usage.tokens <= int(most * (share or 0))


@pytest.mark.parametrize("endlessly", [False, True])
@pytest.mark.parametrize("name", SEARCHES)
def test_the_plan_bounds_what_a_search_costs(name: str, endlessly: bool) -> None:
    engine = climber(head=lambda text: (0.5,), script=endless) if endlessly else climber()
    most = plan(SEARCHES[name] | best(), engine).total
    for seed in range(3):
        spent = searched(SEARCHES[name], engine, seed=seed)
        assert spent.usage.tokens <= most.tokens
        assert spent.calls <= most.calls


@pytest.mark.parametrize("name", SEARCHES)
def test_every_token_of_a_prefix_is_given_once(name: str) -> None:
    """The policy is given its prompt and nothing else; the shadow its prompt and each step."""
    result = searched(SEARCHES[name], climber())
    policy, verifier = result.usage.policy, result.usage.verifier
    prompt = plan(SEARCHES[name] | best(), climber()).prompt_tokens
    assert policy.prompt < 2 * prompt
    if "whole paths" not in name:
        nodes = [e for e in result.trace.events if e["event"] == "node"]
        shown = sum(len(e["text"]) + e["ahead"] for e in nodes if e["text"].strip())
        assert verifier.prompt - shown < 2 * prompt
        ahead = sum(e["ahead"] > 0 for e in nodes)
        scored = sum(e["score"] is not None for e in nodes)
        assert scored + ahead <= verifier.scored <= scored + 2 * ahead


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("says", [math.nan, 1.5, -0.1, math.inf], ids=str)
def test_a_verifier_out_of_its_mind_is_stated(name: str, says: float) -> None:
    result = searched(SEARCHES[name], climber(head=lambda text: (says,)))
    nodes = [e for e in result.trace.events if e["event"] == "node"]
    assert nodes
    assert all(e["score"] is None and "a step's reward is in [0, 1]" in e["failure"] for e in nodes)
    assert result.confidence is None


def silent(prompt: str) -> Mapping[str, float]:
    return {"": 1.0}


def blank(prompt: str) -> Mapping[str, float]:
    return {"\n\n" * 1000: 1.0}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("script", [endless, silent, blank], ids=lambda s: s.__name__)
def test_policies_that_never_end_or_say_nothing(name: str, script: object) -> None:
    engine = climber(head=lambda text: (0.5,), script=script)  # type: ignore[arg-type]
    result = searched(SEARCHES[name], engine)
    assert result.answer is None
    assert result.status is Status.COMPLETE
    ends = {e["end"] for e in result.trace.events if e["event"] == "node"}
    wanted = {"endless": {"depth", "length"}, "silent": {"goal"}, "blank": {"empty"}}
    assert ends & wanted[script.__name__]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("tokens", [1, 20, 50, 100, 200])
def test_small_budgets_give_the_best_so_far(name: str, tokens: int) -> None:
    result = searched(SEARCHES[name], climber(), budget=Budget(tokens=tokens))
    assert result.usage.tokens <= tokens
    assert result.status is Status.EXHAUSTED


def test_a_path_that_is_cut_short_is_finished_greedily() -> None:
    """One expansion: the best first step is finished by the policy's likeliest letters."""
    search = astar("process_reward", expand=8, most_expansions=1, step_tokens=20, max_tokens=60)
    result = searched(search, climber())
    assert result.answer is not None
    assert result.answer[1:] == "cc"


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_looking_ahead_judges_a_step_by_where_it_leads(ahead: int) -> None:
    """The likeliest letter is c: a first step is as good as its letter and `ahead` times c."""
    search = beam(
        "process_reward", width=8, lookahead=ahead, step_tokens=20, max_tokens=60, depth=6
    )
    nodes = [e for e in searched(search, climber()).trace.events if e["event"] == "node"]
    first = [e for e in nodes if len(e["place"]) == 1]
    assert len(first) == 8
    for node in first:
        letters = [node["text"].strip(), *["c"] * min(ahead, 2)]
        assert node["score"] == pytest.approx(sum(GOOD[x] for x in letters) / len(letters))
    drawn = sum(e["tokens"] + e["ahead"] for e in nodes)
    assert searched(search, climber()).usage.policy.decoded == drawn


@pytest.mark.parametrize("search", [beam, dvts], ids=["beam", "dvts"])
def test_the_last_step_runs_to_the_end(search: Callable[..., Expression]) -> None:
    made = search("process_reward", width=4, step_tokens=20, max_tokens=60, depth=2)
    nodes = [e for e in searched(made, climber()).trace.events if e["event"] == "node"]
    last = [e for e in nodes if len(e["place"]) == 2]
    assert last
    assert all(e["end"] == "goal" and "boxed" in e["text"] for e in last)


def test_searches_need_an_engine_with_a_head() -> None:
    with pytest.raises(CapabilityError, match="heads"):
        plan(beam("process_reward") | best(), ScriptedEngine())


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_are_written_and_read_back(name: str) -> None:
    strategy = SEARCHES[name] | vote("judge")
    assert from_yaml(to_yaml(strategy)) == strategy
