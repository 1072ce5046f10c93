"""Searches that are broken off anywhere and go on: as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from breaking import Runs, given_again, told
from climbing import climb, climber, reward
from guessing import Ticking, runtime, shuffled
from test_searching import SEARCHES

from ponder.orchestrator import (
    Budget,
    Status,
    astar,
    beam,
    best,
    constrained,
    judge,
    parallel,
    particle_filter,
    plan,
    read_search,
    sample,
    to_yaml,
    vote,
)
from ponder.orchestrator.ledger import Ledger
from ponder.orchestrator.saving import SavedRun, Saver
from ponder.runtime import BranchPath, InputError, ModelError, PonderError, ScriptedEngine, Usage
from ponder.verifiers import Question, regex
from ponder.verifiers.label_reward import SELF_EVALUATION

STRATEGIES = {name: search | best() for name, search in SEARCHES.items()}
STRATEGIES["probed"] = (
    beam("self_evaluation", width=6, expand=3, step_tokens=20, max_tokens=60, depth=4) | best()
)
FITS = regex("(?s).{3,24}")
STRATEGIES["constrained"] = constrained(FITS, particles=4, step_tokens=2, max_tokens=30) | best()
STRATEGIES["judged and constrained"] = (
    particle_filter("process_reward", fits=(FITS,), particles=4, step_tokens=3, max_tokens=30)
    | best()
)
SEVERAL = (
    parallel(
        sample(3, max_tokens=30),
        beam("process_reward", width=4, expand=2, step_tokens=20, max_tokens=60, depth=6),
        astar("process_reward", expand=3, parallel=2, step_tokens=20, max_tokens=60, depth=6),
    )
    | judge("likelihood")
    | vote()
)
SHARES = [None, 0.3, 0.03]


def probed(prompt: str) -> Mapping[str, float]:
    """The climber; asked without its instruction, what it thinks of each prefix."""
    if "Think step by step" in prompt:
        return climb(prompt)
    prefixes = {reply[:end] for reply in climb(prompt) for end in (3, 6, len(reply))}
    return {
        f"{prefix}{SELF_EVALUATION.probe}{word}": weight
        for prefix in prefixes
        for (good,) in [reward(f"assistant: {prefix}")]
        for word, weight in (("Yes", good), ("No", 1 - good))
    }


def engine(delay: Callable[[BranchPath, int], float] | None = None) -> ScriptedEngine:
    return climber(delay, script=probed)


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., Runs]:
    def make(strategy: object, share: float | None = None, **settings: object) -> Runs:
        most = plan(strategy, climber()).total.tokens  # type: ignore[arg-type]
        budget = None if share is None else Budget(tokens=int(most * share))
        settings = {"engine": engine, "budget": budget, "path": tmp_path / "search", **settings}
        return Runs(strategy=strategy, **settings)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_broken_off_after_anything_it_was_told_ends_the_same(
    name: str, concurrency: int, runs: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs(STRATEGIES[name], concurrency=concurrency)
    whole = run.whole()
    times = run.until_told(10**6, monkeypatch)
    for k in range(1, times + 1, max(1, times // 12)):
        assert run.until_told(k, monkeypatch) >= k
        assert told(run.resumed()) == told(whole)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_broken_off_in_the_middle_of_calls_ends_the_same(
    name: str, share: float | None, runs: Callable[..., Runs]
) -> None:
    """With a budget that binds, what was paid for counts once, and nothing else."""
    run = runs(STRATEGIES[name], share)
    whole = run.whole()
    dice = Random(f"{name} {share}")
    for _ in range(6):
        run.engine = lambda: engine(shuffled(dice.randrange(100)))
        run.until_called(dice.randrange(1, whole.calls + 10))
        resumed = run.resumed()
        assert told(resumed) == told(whole)
        if share is not None:
            assert resumed.usage.total - given_again(resumed) == whole.usage.total
            assert resumed.calls == whole.calls


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", ["dvts", "ab-mcts", "astar in parallel"])
def test_a_search_broken_off_again_and_again(
    name: str, share: float | None, runs: Callable[..., Runs]
) -> None:
    run = runs(STRATEGIES[name], share)
    whole = run.whole()
    run.until_called(5)
    for _ in range(4):
        run.until_called(17, resume=True)
    assert told(run.resumed()) == told(whole)


@pytest.mark.parametrize("share", SHARES)
def test_several_searches_and_other_nodes(share: float | None, runs: Callable[..., Runs]) -> None:
    run = runs(SEVERAL, share)
    whole = run.whole()
    for calls in range(1, whole.calls + 5, 6):
        run.until_called(calls)
        resumed = run.resumed()
        assert told(resumed) == told(whole)
        if share is not None:
            assert resumed.usage.total - given_again(resumed) == whole.usage.total


def test_the_second_half_may_run_otherwise(runs: Callable[..., Runs]) -> None:
    """Saved at one concurrency, resumed at another."""
    run = runs(STRATEGIES["dvts"], concurrency=64)
    whole = run.whole()
    for calls in (3, 20, 40):
        run.concurrency = 64
        run.until_called(calls)
        run.concurrency = 1
        assert told(run.resumed()) == told(whole)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_that_its_budget_ended_goes_on_with_a_larger_one(
    name: str, runs: Callable[..., Runs]
) -> None:
    run = runs(STRATEGIES[name])
    spent = run.whole().usage.tokens
    run.budget = Budget(tokens=spent * 2 // 3)
    ended = run.whole(save_search=run.path)
    assert ended.status is Status.EXHAUSTED
    assert told(run.resumed()) == told(ended)
    larger = Budget(tokens=spent * 3 // 2)
    more = run.resumed(budget=larger)
    run.budget = larger
    whole = run.whole()
    assert told(more) == told(whole)
    assert more.usage.total - given_again(more) == whole.usage.total


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_finished_search_is_given_again_at_no_cost(name: str, runs: Callable[..., Runs]) -> None:
    run = runs(STRATEGIES[name])
    whole = run.whole(save_search=run.path)
    used = engine()
    run.engine = lambda: used
    again = run.resumed()
    assert told(again) == told(whole)
    assert (again.usage, again.calls) == (whole.usage, whole.calls)
    assert used.stats().computed == 0


def test_what_is_opened_again_is_charged_as_prompt(runs: Callable[..., Runs]) -> None:
    run = runs(STRATEGIES["beam"], 0.3)
    run.until_called(60)
    resumed = run.resumed()
    again = given_again(resumed)
    assert again.prompt == again.tokens > 0
    (path, *_) = {tuple(e["path"]) for e in resumed.trace.events if e.get("kind") == "reopen"}
    assert path[0] == "beam"


class Dying(ScriptedEngine):
    """Fails for good after so many calls."""

    left = 30

    async def pause(self, path: BranchPath, tokens: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise ModelError("the machine is gone")
        await super().pause(path, tokens)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_goes_on_after_its_engine_died(
    name: str, share: float | None, runs: Callable[..., Runs]
) -> None:
    run = runs(STRATEGIES[name], share)
    whole = run.whole()
    run.engine = lambda: Dying(probed, heads={"score": reward})
    with suppress(ModelError):  # where the budget was over before
        run.whole(save_search=run.path)
    run.engine = engine
    assert told(run.resumed()) == told(whole)


def test_seconds_go_on_from_where_they_were(runs: Callable[..., Runs]) -> None:
    run = runs(STRATEGIES["beam"])
    run.engine = lambda: Ticking(probed, heads={"score": reward})
    run.until_called(20)
    before = read_search(run.path).seconds
    assert before > 0
    assert run.resumed().seconds > before
    run.budget = Budget(seconds=before / 2)
    late = run.resumed()
    assert late.status is Status.EXHAUSTED
    assert late.seconds >= before


# --- files ---


def saved(runs: Callable[..., Runs]) -> Runs:
    run = runs(STRATEGIES["beam"])
    run.until_called(30)
    return run


def test_a_search_is_resumed_as_what_it_is(runs: Callable[..., Runs]) -> None:
    run = saved(runs)
    kept = read_search(run.path)
    assert kept.strategy == to_yaml(run.strategy)
    assert (kept.seed, kept.engines) == (0, {"policy": "scripted"})
    with pytest.raises(InputError, match="with seed 0, not 3"):
        run.resumed(seed=3)
    run.strategy = STRATEGIES["dvts"]
    with pytest.raises(InputError, match=r"(?s)with strategy .*beam.*, not .*dvts"):
        run.resumed()
    run.strategy, run.engine = STRATEGIES["beam"], lambda: climber_named("another")
    with pytest.raises(InputError, match=r"'scripted'.*, not .*'another'"):
        run.resumed()
    with pytest.raises(InputError, match=r"text='Which\?'.*, not .*text='Who"):
        asyncio.run(runtime(climber()).solve("Who?", run.strategy, resume=run.path))


def climber_named(name: str) -> ScriptedEngine:
    return ScriptedEngine(probed, name=name, heads={"score": reward})


def test_damage_is_told(runs: Callable[..., Runs], tmp_path: Path) -> None:
    run = saved(runs)
    good = run.path.read_text()
    older = json.dumps({**json.loads(good), "format": 0})
    for text, wrong in [
        ("", "cannot be read"),
        (good[: len(good) // 2], "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("\x00\xff", "cannot be read"),
        ("[]", "holds no search"),
        ('{"event": "run"}', "holds no search"),
        (good.replace("Which?", "Where?"), "is damaged"),
        (older, "has format 0, and this version of Ponder reads 1"),
    ]:
        run.path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match=wrong):
            run.resumed()
    run.path.unlink()
    with pytest.raises(InputError, match="No such file"):
        run.resumed()
    for place, wrong in [(tmp_path, "is a folder"), (tmp_path / "no" / "file", "does not exist")]:
        with pytest.raises(InputError, match=wrong):
            run.whole(save_search=place)


def test_a_state_of_another_version_is_told(runs: Callable[..., Runs]) -> None:
    """Its checksum is right, but its method's state has other fields."""
    run = saved(runs)
    kept = read_search(run.path)
    state = kept.nodes["beam"].progress["state"]
    state["mood"] = state.pop("queue")
    writer(run.path, kept).write()
    with pytest.raises(InputError, match=r"no Level of this version of Ponder"):
        run.resumed()


def writer(path: Path, run: SavedRun, now: Callable[[], float] = lambda: 0.0) -> Saver:
    return Saver(path, run, Ledger(Budget()), lambda: 0.0, now)


RUN = SavedRun(question=Question(text="?"), strategy="", engines={}, seed=0, budget=Budget())


def test_writing_takes_a_twentieth_of_the_time(tmp_path: Path) -> None:
    """On a clock that goes on by 1 s whenever it is read, so a writing takes 1 s."""
    times, asked = 0, 0

    def now() -> float:
        nonlocal times
        times += 1
        return float(times)

    def progress() -> object:
        nonlocal asked
        asked += 1
        return asked

    saver = writer(tmp_path / "search", RUN, now)
    for _ in range(200):
        saver.save("beam", progress)
    assert 200 / 25 <= asked <= 200 / 20 + 1
    assert read_search(tmp_path / "search").nodes["beam"].progress == asked


def test_a_writing_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "search"
    writer(place, RUN).write()
    before = place.read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    saver = writer(place, RUN)
    with pytest.raises(PonderError, match=r"no search could be written .* No space left"):
        saver.save("beam", lambda: 1)
    assert place.read_bytes() == before
    assert os.listdir(tmp_path) == ["search"]


def test_nothing_is_asked_for_where_nothing_is_written() -> None:
    saver = Saver(None, RUN, Ledger(Budget()), lambda: 0.0)
    saver.save("beam", lambda: 1 / 0)
    saver.hear({"event": "refused"})
    saver.write()


def test_usage_of_what_is_resumed_is_in_the_trace(runs: Callable[..., Runs]) -> None:
    run = saved(runs)
    spent = [e for e in run.resumed().trace.events if e["event"] == "spent"]
    assert {e["purpose"] for e in spent} == {"policy", "verifier"}
    assert all(Usage(**e["usage"]).tokens > 0 for e in spent)
