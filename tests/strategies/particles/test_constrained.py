"""SMC over tokens: evidence and shares against enumeration, and what the method promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from alone import Alone

from ponder.orchestrator import Budget, from_yaml, plan, result_line, solve, to_yaml, vote
from ponder.orchestrator import constrained as constrained_step
from ponder.orchestrator.result import Status
from ponder.runtime import BranchPath, InputError, ScriptedEngine
from ponder.strategies import Constrained, ParticleFilter, ParticleGibbs
from ponder.strategies.particles.resampling import SCHEMES
from ponder.verifiers import (
    Candidate,
    Fit,
    Potential,
    Predicate,
    Question,
    potential_of,
    predicate,
    regex,
)

REPLIES: Mapping[str, float] = {
    "ab": 0.22,
    "aab": 0.10,
    "abb": 0.08,
    "ba": 0.15,
    "bb": 0.20,
    "b": 0.05,
    "a": 0.10,
    "cab": 0.10,
}
"""The policy: an exact distribution over whole texts."""
HOPES = "ab|aab|b[ab]?c?|c"
"""Some of which it says, and some of which look well until they end."""


@dataclass(slots=True, kw_only=True)
class Fitting(Alone):
    """With potentials."""

    potentials: Mapping[str, Potential] = field(default_factory=dict[str, Potential])

    def potential(self, fit: Fit) -> Potential:
        return potential_of(fit, self.potentials)


@dataclass(frozen=True)
class Wanted:
    """A potential of texts, by a table: what a predicate would say, without its process."""

    weights: Callable[[str, bool], float]

    def begin(self, vocabulary: Any) -> Said:
        return Said(self.weights, "", frozenset(vocabulary.ends))


@dataclass(frozen=True)
class Said:
    weights: Callable[[str, bool], float]
    text: str
    ends: frozenset[int]

    def mask(self) -> None:
        return None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        return [self._ratio(token) for token in tokens]

    async def after(self, token: int) -> Said:
        return Said(self.weights, self.text + chr(token), self.ends)

    def _ratio(self, token: int) -> float:
        over = token in self.ends
        new = self.weights(self.text if over else self.text + chr(token), over)
        old = self.weights(self.text, False)
        return math.log(new / old) if new else -math.inf


def soft(text: str, whole: bool) -> float:
    """Fewer than three letters b, and what has an a weighs more when it is whole."""
    if text.count("b") > 2 or text.startswith("c"):
        return 0.0
    return (0.9 if "a" in text else 0.3) if whole else 0.8 ** text.count("b")


def target(weights: Callable[[str, bool], float]) -> dict[str, float]:
    return {text: p * weights(text, True) for text, p in REPLIES.items() if weights(text, True)}


def runs(method: Constrained, n: int, **named: Potential) -> list[tuple[float, list[Candidate]]]:
    """Of so many seeds: evidence and particles."""

    async def one(seed: int) -> tuple[float, list[Candidate]]:
        ctx = Fitting(seed=seed, policy=ScriptedEngine(lambda _: REPLIES), potentials=named)
        found = [item for item in await ctx.run(method) if isinstance(item, Candidate)]
        (told,) = [event for event in ctx.events if event["event"] == "paths"]
        log = told["log_evidence"][-1]  # type: ignore[index]
        return (0.0 if log is None else math.exp(log)), found

    async def all_of_them() -> list[tuple[float, list[Candidate]]]:
        return [await one(seed) for seed in range(n)]

    return asyncio.run(all_of_them())


def estimates(
    found: Sequence[tuple[float, list[Candidate]]], particles: int, text: str | None
) -> tuple[float, float]:
    """Mean, and its standard error, of the mass of a text; of all where it is None."""
    values = [
        evidence * sum(c.weight for c in candidates if text is None or c.text == text) / particles
        for evidence, candidates in found
    ]
    mean = math.fsum(values) / len(values)
    spread = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(spread / len(values))


SETTINGS: list[dict[str, Any]] = [
    {"proposal": "adaptive", "particles": 1},
    {"proposal": "adaptive", "particles": 3, "threshold": 1.0},
    {"proposal": "rejection", "particles": 2, "threshold": 0.0},
    {"proposal": "policy", "particles": 4, "threshold": 0.5},
    {"proposal": "policy", "particles": 3, "threshold": 1.0, "step_tokens": 2},
    *({"particles": 3, "threshold": 1.0, "resampling": scheme} for scheme in SCHEMES),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_evidence_and_shares_are_unbiased(settings: dict[str, Any]) -> None:
    method = Constrained(fits=(predicate("soft"),), max_tokens=6, **settings)
    found = runs(method, 800, soft=Wanted(soft))
    wanted = target(soft)
    for text, mass in [*wanted.items(), (None, math.fsum(wanted.values()))]:
        mean, error = estimates(found, method.particles, text)
        assert abs(mean - mass) <= 4 * error + 1e-12, (text, mean, mass, error)
    said = {c.text for _, candidates in found for c in candidates}
    assert said == set(wanted)


def test_a_grammar_is_a_potential_too() -> None:
    method = Constrained(fits=(regex(HOPES),), particles=3, max_tokens=6)
    wanted = target(lambda text, _: float(text in ("ab", "aab", "ba", "bb", "b")))
    found = runs(method, 150)
    for text, mass in wanted.items():
        mean, error = estimates(found, 3, text)
        assert abs(mean - mass) <= 4 * error


def test_local_decoding_is_biased_and_particles_are_less_so() -> None:
    """By its own rule, the local share of a text is the product of what each step leaves."""

    def only(text: str, whole: bool) -> float:
        return float(
            text in ("ab", "bb") if whole else "ab".startswith(text) or "bb"[: len(text)] == text
        )

    def share(**settings: Any) -> float:
        method = Constrained(fits=(predicate("only"),), max_tokens=6, **settings)
        found = runs(method, 200, only=Wanted(only))
        return sum(
            sum(c.weight for c in some if c.text == "ab") / max(1e-9, sum(c.weight for c in some))
            for _, some in found
        ) / sum(bool(some) for _, some in found)

    first = 0.5 / (0.5 + 0.4)  # texts that begin with a, of those that begin with a or b
    exact = 0.22 / 0.42
    assert abs(share(proposal="local", particles=1) - first) < 0.08
    assert abs(share(proposal="local", particles=8) - first) < 0.06
    assert abs(share(particles=8) - exact) < 0.05


def test_a_text_that_is_too_long_is_none() -> None:
    found = runs(Constrained(fits=(regex("[abc]*"),), particles=4, max_tokens=3), 100)
    assert {c.text for _, some in found for c in some} <= {"ab", "ba", "bb", "b", "a"}
    mean, error = estimates(found, 4, None)
    assert abs(mean - 0.72) <= 4 * error


def test_with_everything_allowed_all_weigh_the_same() -> None:
    for evidence, some in runs(Constrained(fits=(regex("[abc]*"),), max_tokens=9), 20):
        assert evidence == pytest.approx(1.0)
        assert sum(c.weight for c in some) == pytest.approx(8)


def test_particle_gibbs_takes_fits_too() -> None:
    method = ParticleGibbs(
        verifier="indifferent",
        fits=(predicate("soft"),),
        particles=4,
        iterations=6,
        pool="last",
        temperature=1.0,
        step_tokens=1,
        step_stop=(),
        goal=(),
    )
    found = runs(method, 150, soft=Wanted(soft))  # type: ignore[arg-type]
    wanted = target(soft)
    total = math.fsum(wanted.values())
    for text, mass in wanted.items():
        share = sum(c.weight for _, some in found for c in some if c.text == text) / (
            4 * len(found)
        )
        assert abs(share - mass / total) < 0.06


def asked(*fits: Fit, **settings: Any) -> Any:
    return solve(
        "Which?",
        constrained_step(*fits, **{"particles": 4, "max_tokens": 6, **settings}) | vote(),
        engine=ScriptedEngine(lambda _: REPLIES),
        seed=3,
        potentials={"no b": Predicate(prefix=lambda text: "b" not in text)},
    )


def test_the_whole_text_is_the_answer() -> None:
    assert asked(predicate("no b"), particles=16).answer == "a"


def test_what_nothing_fits_is_said_with_how_far_one_came() -> None:
    result = asked(regex("ac"))
    assert result.status is Status.UNSATISFIED
    assert (result.answer, result.farthest, result.candidates) == (None, "a", ())
    assert "'a'" in result_line(result)


def test_equal_seeds_give_equal_traces_at_any_concurrency() -> None:
    def delay(path: BranchPath, tokens: int) -> float:
        return len(path.steps) % 3 * 1e-3

    step = constrained_step(regex(HOPES), particles=4, max_tokens=6) | vote()
    found = [
        solve(
            "Which?",
            step,
            engine=ScriptedEngine(
                lambda _: REPLIES, delay=lambda path, n: len(path.steps) % 3 * 1e-3
            ),
            seed=5,
            concurrency=concurrency,
        ).trace.events
        for concurrency in (1, 64)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("tokens", [60, 80, 85, 90, 95])
def test_a_budget_that_ends_gives_what_fits_or_says_so(tokens: int) -> None:
    found = [
        solve(
            "Which?",
            constrained_step(regex(HOPES), particles=4, max_tokens=6) | vote(),
            engine=ScriptedEngine(lambda _: REPLIES),
            seed=5,
            budget=Budget(tokens=tokens),
            concurrency=concurrency,
        )
        for concurrency in (1, 64)
    ]
    assert found[0].trace.events == found[1].trace.events
    assert found[0].status is Status.EXHAUSTED
    assert found[0].answer in (None, "ab", "aab", "ba", "bb", "b")
    assert found[0].usage.tokens <= tokens


def test_a_name_that_nobody_gave_is_refused_before_a_token_is_spent() -> None:
    with pytest.raises(InputError, match=r"potential 'nob'.*'no b'"):
        asked(predicate("nob"))


def fails(text: str) -> bool:
    raise LookupError(f"no {text}")


def test_a_predicate_that_fails_ends_the_run_with_its_error() -> None:
    engine = ScriptedEngine(lambda _: REPLIES)
    with pytest.raises(InputError, match="raised LookupError"):
        solve(
            "Which?",
            constrained_step(predicate("fails"), max_tokens=6) | vote(),
            engine=engine,
            potentials={"fails": Predicate(fails)},
        )
    assert engine.stats().branches == 0


def test_settings_out_of_range_are_refused() -> None:
    for settings, match in (
        ({"proposal": "masked"}, "proposal 'masked'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"most_checks": 0}, "most_checks is 0"),
        ({"ahead": 0}, "ahead is 0"),
        ({"particles": 0}, "particles is 0"),
    ):
        with pytest.raises(InputError, match=match):
            Constrained(fits=(regex("a"),), **settings)
    with pytest.raises(InputError, match="nothing is to be fitted"):
        asked()


def test_it_is_written_and_read_back() -> None:
    step = constrained_step(regex("a|b"), predicate("sql"), particles=3)
    assert from_yaml(to_yaml(step)) == step
    assert repr(step).startswith("constrained(Grammar(kind='regex', text='a|b'), Named(")


@pytest.mark.parametrize("step_tokens", [1, 4])
def test_a_run_stays_within_its_bound(step_tokens: int) -> None:
    engine = ScriptedEngine(lambda _: {"abcabcabc": 1.0})
    step = constrained_step(
        regex("[abc]*"), particles=3, max_tokens=7, step_tokens=step_tokens, threshold=1.0
    )
    most = plan(step | vote(), engine, question=Question(text="Which?")).total
    result = solve("Which?", step | vote(), engine=engine, seed=1)
    assert result.calls <= most.calls
    assert result.usage.tokens <= most.tokens


def test_a_mark_of_a_goal_ends_no_text_that_must_fit() -> None:
    replies = {"a\\boxed{1} b": 1.0}
    method = ParticleFilter(
        verifier="indifferent", fits=(regex(r"a\\boxed\{1\}.*"),), particles=2, temperature=1.0
    )
    ctx = Fitting(policy=ScriptedEngine(lambda _: replies))
    found = asyncio.run(ctx.run(method))
    assert {c.text for c in found if isinstance(c, Candidate)} == set(replies)
