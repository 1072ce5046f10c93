"""Sampling that stops by itself, alone: prefixes of plain samples, exact stopping, its cost."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest

from ponder.runtime import BranchPath, InputError, ScriptedEngine
from ponder.strategies import AdaptiveConsistency, EarlyStopping, Sample, Strategy
from ponder.strategies.stopping import RULES, Tally
from ponder.verifiers import Candidate, extract

Make = Callable[..., Any]  # fixtures that make a context or a candidate, by keyword


def coin(chance: float) -> Callable[[str], Mapping[str, float]]:
    return lambda prompt: {"1": chance, "2": 1 - chance}


def mixed(prompt: str) -> Mapping[str, float]:
    """Answers of several spellings, and none."""
    return {"1/2": 0.3, "0.5": 0.3, "3": 0.2, "no idea": 0.2}


def drawn(ctx: Any, strategy: Strategy) -> list[Candidate]:
    found = asyncio.run(ctx.run(strategy))
    assert ctx.policy.stats().branches == 0
    return sorted(found, key=lambda c: c.index)


def meaning(candidate: Candidate) -> str | None:
    return {"1/2": "0.5"}.get(candidate.text, extract(candidate.text))


def settles_at(answers: list[str | None], rule: str, most: int) -> int:
    """How many of these are drawn, by the definition."""
    for of in range(1, most + 1):
        votes = Counter(answer for answer in answers[:of] if answer is not None)
        counts = tuple(sorted(votes.values(), reverse=True))
        value = RULES[rule].measure(Tally(counts=counts, drawn=of, most=most))
        if RULES[rule].settled(value, RULES[rule].threshold):
            return of
    return most


@pytest.mark.parametrize(("rule", "parallel"), list(product(RULES, [1, 3, 12])))
def test_adaptive_samples_are_the_first_of_plain_ones(
    alone: Make, rule: str, parallel: int
) -> None:
    for seed in range(12):
        plain = drawn(alone(seed=seed, policy=ScriptedEngine(mixed)), Sample(n=12))
        engine = ScriptedEngine(
            mixed, delay=lambda path, _: 0.002 * BranchPath(9, path.steps).uniform(0)
        )
        strategy = AdaptiveConsistency(most=12, rule=rule, parallel=parallel)
        ctx = alone(seed=seed, policy=engine)
        of = settles_at([meaning(c) for c in plain], rule, 12)
        assert drawn(ctx, strategy) == plain[:of]
        (told,) = ctx.events
        assert (told["of"], len(told["values"])) == (of, of)
        assert told["unanswered"] == sum(c.text == "no idea" for c in plain[:of])
        assert told["cancelled"] == (min(12, of + parallel - 1) - of if told["settled"] else 0)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_windows_are_the_first_of_plain_samples(alone: Make, window: int) -> None:
    for seed in range(12):
        plain = drawn(alone(seed=seed, policy=ScriptedEngine(mixed)), Sample(n=8))
        strategy = EarlyStopping(window=window, most=8)
        ctx = alone(seed=seed, policy=ScriptedEngine(mixed))
        answers = [meaning(c) for c in plain]
        parts = [answers[i : i + window] for i in range(0, 8, window)]
        ends = [i for i, part in enumerate(parts) if len(set(part)) == 1 and None not in part]
        of = min(8, ((ends or [8])[0] + 1) * window)
        assert drawn(ctx, strategy) == plain[:of]
        assert [e["agrees"] for e in ctx.events] == [False] * (len(ctx.events) - 1) + [bool(ends)]


@pytest.mark.parametrize("strategy", [AdaptiveConsistency(most=1), EarlyStopping(window=1, most=1)])
def test_one_at_most_is_the_plain_sample(alone: Make, strategy: Strategy) -> None:
    for seed in range(5):
        make = {"seed": seed, "policy": ScriptedEngine(mixed)}
        assert drawn(alone(**make), strategy) == drawn(alone(**make), Sample(n=1))


def mean_and_error(
    alone: Make, strategy: Strategy, chance: float, seeds: int
) -> tuple[float, float]:
    engine = ScriptedEngine(coin(chance))

    async def run() -> list[int]:
        return [len(await alone(seed=s, policy=engine).run(strategy)) for s in range(seeds)]

    counts = asyncio.run(run())
    mean = sum(counts) / seeds
    return mean, math.sqrt(sum((c - mean) ** 2 for c in counts) / seeds / (seeds - 1))


@pytest.mark.parametrize(("chance", "cost"), [(0.8, 14.61), (0.95, 6.46)])
def test_early_stopping_costs_what_the_formula_says(
    alone: Make, chance: float, cost: float
) -> None:
    """w (1 - (1 - q)^W) / q; 300 seeds, 4 standard errors."""
    agree = chance**5 + (1 - chance) ** 5
    assert 5 * (1 - (1 - agree) ** 8) / agree == pytest.approx(cost, abs=0.005)
    strategy = EarlyStopping(window=5, most=40, temperature=1.0)
    mean, error = mean_and_error(alone, strategy, chance, 300)
    assert mean == pytest.approx(cost, abs=4 * error)


def expected_cost(chance: float, most: int) -> float:
    """Of two answers under the Beta rule: every count that can be reached, with its chance."""
    living, cost = {(0, 0): 1.0}, 0.0
    for of in range(1, most + 1):
        cost += sum(living.values())
        after: dict[tuple[int, int], float] = {}
        for (a, b), p in living.items():
            for counts, q in (((a + 1, b), chance), ((a, b + 1), 1 - chance)):
                tally = Tally(counts=tuple(sorted(counts, reverse=True)), drawn=of, most=most)
                if RULES["beta"].measure(tally) < 0.95:
                    after[counts] = after.get(counts, 0.0) + p * q
        living = after
    return cost


@pytest.mark.parametrize("chance", [0.8, 0.6])
def test_adaptive_consistency_costs_what_enumeration_says(alone: Make, chance: float) -> None:
    strategy = AdaptiveConsistency(most=40, temperature=1.0)
    mean, error = mean_and_error(alone, strategy, chance, 200)
    assert mean == pytest.approx(expected_cost(chance, 40), abs=4 * error)


def test_leaving_early_closes_every_branch(alone: Make) -> None:
    async def first(strategy: Any) -> int:
        ctx = alone(policy=ScriptedEngine(mixed, delay=lambda p, _: 0.01 * int(p.steps[-1])))

        async def question() -> Any:
            yield ctx.question

        stream = strategy.run(ctx, question())
        async for _ in stream:
            break
        await stream.aclose()
        branches: int = ctx.policy.stats().branches
        return branches

    assert asyncio.run(first(AdaptiveConsistency(most=8, parallel=4))) == 0
    assert asyncio.run(first(EarlyStopping(window=4, most=8))) == 0


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: AdaptiveConsistency(most=0), "most is 0"),
        (lambda: AdaptiveConsistency(parallel=0), "parallel is 0"),
        (lambda: AdaptiveConsistency(rule="betta"), "rule is 'betta'"),
        (lambda: AdaptiveConsistency(threshold=1.01), "threshold is 1.01"),
        (lambda: AdaptiveConsistency(threshold=-0.5), "threshold is -0.5"),
        (lambda: AdaptiveConsistency(threshold=math.nan), "threshold is nan"),
        (lambda: AdaptiveConsistency(rule="lead", threshold=1.0), "rule 'lead' has none"),
        (lambda: AdaptiveConsistency(temperature=-1.0), "temperature is -1.0"),
        (lambda: EarlyStopping(window=6, most=5), r"window is 6; it must be from 1 to most \(5\)"),
        (lambda: EarlyStopping(window=0), "window is 0"),
        (lambda: EarlyStopping(most=0), "most is 0"),
        (lambda: EarlyStopping(max_tokens=0), "max_tokens is 0"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        make()
