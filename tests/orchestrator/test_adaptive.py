"""Adaptive best-of-N, early pruning and routing: exact on a model whose doubts are known, equal
traces whatever finishes first, and stated outcomes for bad input.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
from doubting import EXTRA, PROBE, REPLIES, doubter, doubting, sure
from guessing import runtime, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Runtime,
    Status,
    adaptive_best_of,
    agreement,
    best,
    from_yaml,
    judge,
    mean_score,
    mermaid,
    parallel,
    plan,
    pruned,
    recompute,
    route,
    sample,
    to_yaml,
    vote,
    when,
)
from ponder.runtime import BranchPath, CapabilityError, InputError, ScriptedEngine
from ponder.strategies import AdaptiveBestOf, Pruned
from ponder.verifiers import ExactEquivalence

SHORT: Any = {"max_tokens": 40, "temperature": 1.0}  # settings of several types
ROUTE = route(
    mean_score(),
    bins=(0.3, 0.6),
    arms=(adaptive_best_of(3, **SHORT) | best(), vote(), vote("judge")),
)
STRATEGIES: dict[str, Expression] = {
    "adaptive": adaptive_best_of(6, threshold=0.6, **SHORT) | best(),
    "annealed": adaptive_best_of(6, threshold=0.6, anneal="halving", **SHORT) | best(),
    "likelihood": adaptive_best_of(
        6, threshold=0.9, verifier="likelihood", platt=(1.5, -0.5), **SHORT
    )
    | best(),
    "pruned": pruned(8, at=(2, 5, 9), keep=0.6, **SHORT) | best(),
    "pruned at stops": pruned(8, at=(2, 5, 9), stop=("so, ", ", s"), **SHORT) | vote("judge"),
    "routed": sample(3, **SHORT) | judge("restart") | ROUTE,
}


def solved(
    strategy: Expression,
    engine: ScriptedEngine | None = None,
    *,
    seed: int = 0,
    concurrency: int = 64,
    budget: Budget | None = None,
) -> Result:
    engine = engine or doubter()
    result = asyncio.run(
        runtime(engine, concurrency).solve("Which?", strategy, seed=seed, budget=budget)
    )
    assert engine.stats().branches == 0
    assert recompute(result.trace.events) == result.numbers
    return result


def told(result: Result, event: str) -> list[dict[str, Any]]:
    return [dict(e) for e in result.trace.events if e["event"] == event]


def made(result: Result) -> list[tuple[int, str, float | None]]:
    found = [attempt.candidate for attempt in result.candidates]
    return [(c.index, c.text, c.verdict.score if c.verdict else None) for c in found]


@pytest.mark.parametrize("share", [None, 0.5, 0.2, 0.05, 0.02], ids=str)
@pytest.mark.parametrize("name", STRATEGIES)
def test_equal_seeds_give_equal_traces(name: str, share: float | None) -> None:
    strategy = STRATEGIES[name]
    most = plan(strategy, doubter()).total.tokens
    budget = None if share is None else Budget(tokens=int(most * share))
    for seed in range(3):
        runs = [
            solved(strategy, doubter(shuffled(salt)), seed=seed, concurrency=at, budget=budget)
            for at, salt in ((1, 0), (64, 1), (64, 2), (3, 3))
        ]
        assert len({run.trace.jsonl() for run in runs}) == 1
        if budget is not None:
            assert runs[0].usage.tokens <= int(most * (share or 0))


@pytest.mark.parametrize(
    "doubts", [sure, lambda _: None, lambda _: 0.5], ids=["sure", "no", "even"]
)
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_plan_bounds_what_it_costs(name: str, doubts: Any) -> None:
    most = plan(STRATEGIES[name], doubter()).total
    for seed in range(5):
        spent = solved(STRATEGIES[name], doubter(no=doubts), seed=seed)
        assert spent.usage.tokens <= most.tokens
        assert spent.calls <= most.calls


@pytest.mark.parametrize("tokens", [1, 20, 60, 90, 100])
@pytest.mark.parametrize("name", STRATEGIES)
def test_small_budgets_give_the_best_so_far(name: str, tokens: int) -> None:
    result = solved(STRATEGIES[name], budget=Budget(tokens=tokens))
    assert result.usage.tokens <= tokens
    assert result.status is Status.EXHAUSTED


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_is_written_and_read_back(name: str) -> None:
    assert from_yaml(to_yaml(STRATEGIES[name])) == STRATEGIES[name]


@pytest.mark.parametrize("seed", range(4))
def test_a_fork_says_what_the_whole_text_says(seed: int) -> None:
    """The verifier of candidates opens question and text anew; the adaptive method reads forks."""
    apart = solved(sample(6, **SHORT) | judge("restart") | best(), seed=seed)
    assert [score for _, _, score in made(apart)] == pytest.approx(
        [sure(text) for _, text, _ in made(apart)]
    )
    within = solved(adaptive_best_of(6, threshold=2, name="sample", **SHORT) | best(), seed=seed)
    assert made(within) == made(apart)
    assert within.answer == apart.answer
    assert within.usage.verifier.tokens <= 6 * EXTRA
    texts = len({text for _, text, _ in made(apart)})  # each is judged once
    assert apart.usage.verifier.tokens > texts * EXTRA


def test_another_engine_may_judge() -> None:
    strategy = adaptive_best_of(4, threshold=0.6, verifier_engine="critic", **SHORT) | best()
    engines = {"policy": doubter(no=lambda _: 0.1), "critic": doubter(no=lambda _: 0.7)}
    runs = Runtime(engines, equivalence=ExactEquivalence())
    found = asyncio.run(runs.solve("Which?", strategy, seed=1))
    assert len(found.candidates) == 1
    assert found.confidence == pytest.approx(0.7)
    assert engines["critic"].stats().scored == len("YesNo")
    assert from_yaml(to_yaml(strategy)) == strategy


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_at_both_ends_are_best_of_n_and_one_sample(seed: int) -> None:
    everyone = solved(sample(6, **SHORT) | judge("restart") | best(), seed=seed)
    for threshold, n in ((1.5, 6), (0, 1), (-3.0, 1)):
        found = solved(
            adaptive_best_of(6, threshold=threshold, name="sample", **SHORT) | best(), seed=seed
        )
        assert made(found) == made(everyone)[:n]
    assert solved(adaptive_best_of(6, threshold=0, name="sample", **SHORT) | best()).answer == (
        solved(sample(1, **SHORT) | vote()).answer
    )


@pytest.mark.parametrize("at_once", [1, 2, 5, 9])
def test_it_stops_at_the_first_that_is_good_enough(at_once: int) -> None:
    stopped = set()
    for seed in range(8):
        everyone = made(solved(sample(6, **SHORT) | judge("restart") | best(), seed=seed))
        good = next((i for i, _, q in everyone if q is not None and q >= 0.6), 5)
        strategy = adaptive_best_of(6, threshold=0.6, parallel=at_once, name="sample", **SHORT)
        for salt in range(2):
            found = solved(strategy | best(), doubter(shuffled(salt)), seed=seed)
            assert made(found) == everyone[: good + 1]
            (event,) = told(found, "stopped")
            assert event["attempts"] == good + 1
            assert event["best"] == pytest.approx(max(sure(t) for _, t, _ in made(found)))
        stopped.add(good)
    assert len(stopped) > 2


def test_losers_are_cancelled_in_flight_and_their_tokens_count() -> None:
    """The first attempt is at once good enough; the others would take ten seconds each."""
    slow = doubter(lambda path, _: 10.0 if path.steps[-1] in (1, 2) else 0.01, no=lambda _: 0.9)
    strategy = adaptive_best_of(6, threshold=0.8, parallel=3, **SHORT) | best()
    found = solved(strategy, slow)
    cut = [e for e in told(found, "call") if e.get("error") == "CancelledError"]
    assert [e["path"][-1] for e in cut] == [1, 2]
    assert told(found, "stopped")[0]["cancelled"] == 2
    first = found.candidates[0].candidate.usage.decoded
    assert found.usage.policy.decoded == first + sum(e["usage"]["decoded"] for e in cut) > first


def test_without_a_verdict_it_goes_on_to_the_end() -> None:
    found = solved(adaptive_best_of(4, threshold=0.1, **SHORT) | best(), doubter(no=lambda _: None))
    assert len(found.candidates) == 4
    assert all(e["failure"].startswith("neither label") for e in told(found, "verdict"))
    assert found.confidence is None
    one = solved(adaptive_best_of(4, threshold=0, **SHORT) | best(), doubter(no=lambda _: None))
    assert len(one.candidates) == 1


def test_a_verdict_that_the_budget_does_not_reach_is_stated() -> None:
    strategy = sample(3, **SHORT) | judge("restart") | best()
    drawn = solved(sample(3, **SHORT) | best()).usage.tokens
    found = solved(strategy, budget=Budget(tokens=drawn + 10))
    assert [e["failure"][:11] for e in told(found, "verdict")] == ["not judged:"] * 3
    assert found.answer is not None


@pytest.mark.parametrize(
    ("made_by", "method"), [(adaptive_best_of, AdaptiveBestOf), (pruned, Pruned)]
)
def test_functions_and_methods_have_the_same_defaults(made_by: Any, method: Any) -> None:
    assert made_by().strategy == method()
    assert method.source == "Manvi et al. 2024, arXiv 2410.02725"


def test_scores_are_calibrated_before_they_meet_the_threshold() -> None:
    plain = made(solved(adaptive_best_of(3, threshold=2, **SHORT) | best()))
    turned = made(solved(adaptive_best_of(3, threshold=2, platt=(2.0, 1.0), **SHORT) | best()))
    for (_, _, q), (_, _, p) in zip(plain, turned, strict=True):
        assert q is not None
        assert p == pytest.approx(1 / (1 + math.exp(-2 * math.log(q / (1 - q)) - 1)))


def test_the_first_annealed_attempt_is_greedy() -> None:
    for seed in range(5):
        strategy = adaptive_best_of(1, anneal="halving", max_tokens=40, temperature=1.0)
        assert solved(strategy | best(), seed=seed).answer == "1"


def by_hand(
    texts: list[str], at: tuple[int, ...], keep: float, tokens: dict[str, int]
) -> list[int]:
    """Which attempts are left, written without any engine."""
    alive = list(range(len(texts)))
    for place in at:
        going = [i for i in alive if tokens[texts[i]] > place]
        ranked = sorted(going, key=lambda i: (-sure(texts[i][:place]), i))
        out = ranked[max(1, math.ceil(keep * len(going) - 1e-9)) :] if going else []
        alive = [i for i in alive if i not in out]
    return alive


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    at=st.sets(st.integers(1, 20), min_size=1, max_size=3).map(lambda s: tuple(sorted(s))),
    keep=st.sampled_from([0.01, 0.25, 0.3, 0.5, 0.7, 1.0]),
    tight=st.booleans(),
)
def test_pruning_keeps_whom_the_definition_keeps(
    seed: int, n: int, at: tuple[int, ...], keep: float, tight: bool
) -> None:
    drawn = [text for _, text, _ in made(solved(sample(n, **SHORT) | vote(), seed=seed))]
    ends = {text: len(text) + 1 for text in REPLIES}
    strategy = pruned(n, at=at, keep=keep, name="sample", **SHORT) | best()
    # A budget that might bind makes it go in waves; this one never does.
    spare = Budget(tokens=plan(strategy, doubter()).total.tokens - 1) if tight else None
    found = solved(strategy, doubter(shuffled(seed)), seed=seed, budget=spare)
    left = by_hand(drawn, at, keep, ends)
    assert [(i, text) for i, text, _ in made(found)] == [(i, drawn[i]) for i in left]
    assert [q for _, _, q in made(found)] == pytest.approx([sure(drawn[i]) for i in left])
    dropped = {e["index"] for e in told(found, "checkpoint") if not e["kept"]}
    assert dropped == set(range(n)) - set(left)


def test_what_is_pruned_is_not_decoded_further() -> None:
    same = {"abcdefghijklmnopqrst\\boxed{1}": 1.0}
    found = solved(
        pruned(8, at=(4, 8), keep=0.5, **SHORT) | best(), doubter(replies=same, no=lambda _: 0.5)
    )
    whole = len(next(iter(same))) + 1
    assert found.usage.policy.decoded == 4 * 4 + 2 * 8 + 2 * whole
    assert [i for i, _, _ in made(found)] == [0, 1]  # ties go to the lower index
    judged = 8 + 4 + 2
    assert found.usage.verifier.prompt == judged * len(PROBE)
    assert found.usage.verifier.scored == judged * len("YesNo")


class Held(ScriptedEngine):
    """One attempt's first stretch ends only once another attempt has gone on."""

    def __init__(self, slow: int, gone_on: asyncio.Event) -> None:
        super().__init__(doubting())
        self.slow, self.gone_on = slow, gone_on

    async def pause(self, path: BranchPath, tokens: int) -> None:
        if path.steps[-3:] == ("sample", 0, self.slow):
            await asyncio.wait_for(self.gone_on.wait(), 10)
        await super().pause(path, tokens)


def test_who_is_sure_of_a_place_waits_for_nobody() -> None:
    """Half of four go on: the best of three is sure of it before the fourth is there."""
    drawn = [text for _, text, _ in made(solved(sample(4, **SHORT) | vote(), seed=3))]
    best_first = sorted(range(4), key=lambda i: (-sure(drawn[i][:2]), i))

    async def run() -> Result:
        gone_on, seen = asyncio.Event(), list[object]()

        def watch(event: Any) -> None:
            if event.get("kind") == "extend" and event["path"][-1] == best_first[0]:
                seen.append(event)
                if len(seen) == 2:
                    gone_on.set()

        strategy = pruned(4, at=(2,), keep=0.5, name="sample", **SHORT) | best()
        engine = Held(best_first[-1], gone_on)
        return await runtime(engine).solve("Which?", strategy, seed=3, on_event=watch)

    result = asyncio.run(run())
    assert {i for i, _, _ in made(result)} == set(best_first[:2])


def test_nothing_is_pruned_for_want_of_a_score() -> None:
    found = solved(pruned(5, at=(2, 4), keep=0.2, **SHORT) | vote(), doubter(no=lambda _: None))
    assert len(found.candidates) == 5
    events = told(found, "checkpoint")
    assert events
    assert all(e["kept"] and e["failure"].startswith("neither label") for e in events)


@settings(deadline=None, max_examples=60)
@given(
    at=st.sets(st.integers(1, 25), min_size=1, max_size=5).map(lambda s: tuple(sorted(s))),
    stop=st.lists(
        st.sampled_from([", so", "so \\b", "}", "cc,", "I think", "ab", "a", "{3", "zz"]),
        max_size=3,
    ).map(tuple),
    seed=st.integers(0, 10**6),
)
def test_stretches_draw_what_one_go_draws(
    at: tuple[int, ...], stop: tuple[str, ...], seed: int
) -> None:
    whole = solved(sample(3, stop=stop, **SHORT) | vote(), seed=seed)
    cut = solved(pruned(3, at=at, keep=1.0, stop=stop, name="sample", **SHORT) | vote(), seed=seed)
    for one, other in zip(whole.candidates, cut.candidates, strict=True):
        a, b = one.candidate, other.candidate
        assert (a.text, a.finish, a.logprobs) == (b.text, b.finish, b.logprobs)


def test_methods_run_beside_each_other() -> None:
    both = parallel(pruned(4, at=(3,), **SHORT), adaptive_best_of(2, threshold=2, **SHORT))
    found = solved(both | best())
    sources = {attempt.candidate.source for attempt in found.candidates}
    assert sources == {"pruned", "adaptive_best_of"}


def test_a_route_is_a_chain_of_whens() -> None:
    arms = (sample(8) | vote(), vote(), best())
    routed = route(mean_score(), bins=[0.2, 0.7], arms=arms, name="way")
    assert routed == when(
        mean_score() < 0.2,
        then=arms[0],
        otherwise=when(mean_score() < 0.7, then=arms[1], otherwise=arms[2]),
        name="way",
    )
    strategy = sample(4) | judge("likelihood") | routed
    dear = sample(4) | judge("likelihood") | when(agreement() < 0, then=arms[0], otherwise=vote())
    assert plan(strategy, doubter()).total == plan(dear, doubter()).total
    assert mermaid(strategy).count('{"') == 2
    written = """
    route:
      by: mean_score()
      bins: [0.2, 0.7]
      arms: [{pipe: [sample: {n: 8}, vote: ]}, {vote: }, {best: }]
      name: way
    """
    assert from_yaml(written) == routed


@pytest.mark.parametrize(
    ("score", "arm"), [(0.1, "1"), (0.3, "2"), (0.5, "2"), (0.6, "3"), (1, "3")]
)
def test_a_route_goes_by_the_bin(score: float, arm: str) -> None:
    """A border belongs to the bin above it."""
    arms = [
        parallel(sample(1, max_tokens=40), sample(1, max_tokens=40), name=f"arm{i}") | vote()
        for i in "123"
    ]
    strategy = sample(2, **SHORT) | judge("restart") | route(mean_score(), (0.3, 0.6), arms)
    found = solved(strategy, doubter(no=lambda _: score))
    sources = {attempt.candidate.source for attempt in found.candidates}
    name = {"1": "sample-2", "2": "sample-4", "3": "sample-6"}[arm]
    assert name in sources
    assert told(found, "when")[0]["value"] == pytest.approx(score)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: adaptive_best_of(0), "most is 0"),
        (lambda: adaptive_best_of(threshold=math.nan), "threshold is nan"),
        (lambda: adaptive_best_of(threshold=math.inf), "threshold is inf"),
        (lambda: adaptive_best_of(anneal="halved"), "anneal is 'halved'.*none, halving"),
        (lambda: adaptive_best_of(lowest=0.9), "lowest is 0.9"),
        (lambda: adaptive_best_of(kappa=0), "kappa is 0"),
        (lambda: adaptive_best_of(platt=(0.0, 0.0)), r"platt is \(0.0, 0.0\)"),
        (lambda: adaptive_best_of(platt=(1.0, math.nan)), r"platt is \(1.0, nan\)"),
        (lambda: adaptive_best_of(parallel=0), "parallel is 0"),
        (lambda: adaptive_best_of(temperature=-1.0), "temperature"),
        (lambda: adaptive_best_of(verifier="restrat"), "did you mean 'restart'"),
        (lambda: pruned(0), "n is 0"),
        (lambda: pruned(at=()), r"at is \(\)"),
        (lambda: pruned(at=(0, 5)), r"at is \(0, 5\)"),
        (lambda: pruned(at=(256, 128)), r"at is \(256, 128\); .*each above the one before"),
        (lambda: pruned(at=(5, 5)), r"at is \(5, 5\)"),
        (lambda: pruned(at=(5, 512)), r"at is \(5, 512\); .*below max_tokens \(512\)"),
        (lambda: pruned(keep=0), "keep is 0"),
        (lambda: pruned(keep=1.5), "keep is 1.5"),
        (lambda: pruned(keep=math.nan), "keep is nan"),
        (lambda: pruned(verifier="likelihood"), "unknown step verifier 'likelihood'"),
        (lambda: pruned(stop=("",)), "stop is"),
        (lambda: route(mean_score(), (), (vote(),)), r"bins is \(\)"),
        (lambda: route(mean_score(), (0.5, 0.2), (vote(),) * 3), r"bins is \(0.5, 0.2\)"),
        (lambda: route(mean_score(), (0.5, math.nan), (vote(),) * 3), "bins is"),
        (lambda: route(mean_score(), (1.5,), (vote(),) * 2), "threshold is 1.5"),
        (lambda: route(mean_score(), (0.5,), (vote(),) * 3), "3 arms for 1 borders"),
        (lambda: route(mean_score, (0.5,), (vote(),) * 2), "by is .*with its parentheses"),  # type: ignore[arg-type]  # that is the point
    ],
)  # fmt: skip
def test_bad_settings_are_refused(make: Any, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        make()


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("route: {by: mean, bins: [0.5], arms: [{vote: }, {vote: }]}", "route.by: .*mean_score"),
        ("route: {by: mean_score, bins: 0.5, arms: [{vote: }]}", "route.bins is 0.5"),
        ("route: {by: mean_score, bins: [yes], arms: [{vote: }]}", "route.bins is"),
        ("route: {by: mean_score, bins: [0.5], arms: [{vote: }]}", "route: 1 arms for 1 borders"),
        ("route: {by: mean_score, arms: [{vote: }]}", "route lacks 'bins'"),
        ("pruned: {at: [5, 3]}", r"pruned: at is \(5, 3\)"),
        ("adaptive_best_of: {threshold: high}", "adaptive_best_of.threshold is 'high'"),
    ],
)
def test_bad_yaml_is_refused_with_its_place(written: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        from_yaml(written)


def test_engines_that_cannot_are_refused_before_a_token_is_spent() -> None:
    mute, seedless = doubter(), doubter()
    mute.capabilities = replace(mute.capabilities, prompt_logprobs=False)
    seedless.capabilities = replace(seedless.capabilities, seed=False)
    for strategy in (pruned(2) | best(), adaptive_best_of(2) | best()):
        with pytest.raises(CapabilityError, match="prompt_logprobs"):
            plan(strategy, mute)
        plan(strategy, seedless)
    with pytest.raises(CapabilityError, match="seed"):
        plan(pruned(2, stop=("x",)) | best(), seedless)
    assert mute.stats().opened == seedless.stats().opened == 0
