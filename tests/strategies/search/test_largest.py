"""The largest draw, found lazily: its law is that of drawing everything, its bounds hold, and what
it draws does not grow with what there is.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from statistics import NormalDist, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search_methods import METHODS
from worlds import World, searched

from ponder.strategies.search.abmcts import (
    PRIOR,
    Arms,
    Posterior,
    Scores,
    radius_squared,
    reach,
    similar,
)
from ponder.strategies.search.abmcts_mixed import Branching
from ponder.strategies.search.largest import (
    Largest,
    Ranked,
    count_class,
    fewest,
    least,
    shuffled,
    uniform,
)
from ponder.strategies.search.mixed import Drawn
from ponder.strategies.search.saving import decoded, encoded

SEEDS = 4_000
ALPHA = 1e-6
"""That a test fails by chance, at most: of each."""


def observed(rewards: list[float]) -> Scores:
    seen = Scores()
    for reward in rewards:
        seen.add(reward)
    return seen


def children(dice: Random, count: int) -> list[Scores]:
    """Of all kinds: seen once and often, alike and not."""
    found = list[Scores]()
    for _ in range(count):
        n, at, wide = dice.choice((1, 1, 1, 2, 3, 5, 8, 40)), dice.random(), dice.random()
        scores = [min(1.0, max(0.0, dice.gauss(at, wide / 3))) for _ in range(n)]
        found.append(observed(scores))
    return found


def ranked_by_posterior(posteriors: list[Posterior]) -> Ranked:
    ranked = Ranked()
    for i, belief in enumerate(posteriors):
        ranked.put(similar(belief), belief.m, i)
    return ranked


def ranked_by_mean(seen: list[Scores]) -> Ranked:
    ranked = Ranked()
    for i, child in enumerate(seen):
        ranked.put(count_class(child.n), child.mean, i)
    return ranked


def students(posteriors: list[Posterior], ranked: Ranked, dice: Random) -> Largest:
    found = Largest(draw=lambda i, u: posteriors[i].drawn(u, dice), reach=reach, dice=dice)
    found.of(ranked)
    return found


def plain_student(belief: Posterior, dice: Random) -> float:
    """By the definition: a variance first, then a mean."""
    variance = belief.nu * belief.tau2 / 2 / dice.gammavariate(belief.nu / 2, 1.0)
    return dice.gauss(belief.m, math.sqrt(variance / belief.kappa))


def same_law(one: list[float], two: list[float]) -> None:
    """Kolmogorov and Smirnov's distance of two samples is within their bound."""
    both = sorted([(x, 1 / len(one)) for x in one] + [(x, -1 / len(two)) for x in two])
    apart, most = 0.0, 0.0
    for _, step in both:
        apart += step
        most = max(most, abs(apart))
    bound = math.sqrt(-math.log(ALPHA / 2) / 2 * (1 / len(one) + 1 / len(two)))
    assert most < bound


def same_frequencies(one: list[int | None], two: list[int | None]) -> None:
    """Each is chosen equally often in both, within normal bounds for shares, all at once."""
    first, second = Counter(one), Counter(two)
    sigmas = -NormalDist().inv_cdf(ALPHA / 2 / len(first | second))
    for thing in first | second:
        share = (first[thing] + second[thing]) / (len(one) + len(two))
        spread = math.sqrt(share * (1 - share) * (1 / len(one) + 1 / len(two)))
        apart = abs(first[thing] / len(one) - second[thing] / len(two))
        assert apart <= sigmas * spread + 3 / len(one), thing


@pytest.mark.parametrize("count", [2, 7, 60])
@pytest.mark.parametrize("world", range(3))
def test_the_largest_student_has_the_law_of_drawing_all(count: int, world: int) -> None:
    posteriors = [PRIOR.given(seen) for seen in children(Random(world), count)]
    ranked, dice = ranked_by_posterior(posteriors), Random(world + 100)
    lazy = [students(posteriors, ranked, dice) for _ in range(SEEDS)]
    plain = list[tuple[float, int | None]]()
    for _ in range(SEEDS):
        plain.append(max((plain_student(p, dice), i) for i, p in enumerate(posteriors)))
    same_frequencies([found.thing for found in lazy], [i for _, i in plain])
    same_law([found.value for found in lazy], [value for value, _ in plain])


@pytest.mark.parametrize("shared", [(0.5, 0.2, 0.3), (0.3, 0.02, 0.5), (0.6, 0.35, 0.03)])
@pytest.mark.parametrize("count", [5, 80])
def test_the_largest_reward_has_the_law_of_drawing_all(
    shared: tuple[float, float, float], count: int
) -> None:
    """A new child's among them."""
    mu, a, s = shared
    seen, model = children(Random(count), count), Drawn(mu=mu, between=a * a, within=s * s)
    ranked, dice = ranked_by_mean(seen), Random(7)

    def plain(child: Scores | None) -> float:
        n, total = (child.n, child.n * child.mean) if child is not None else (0, 0.0)
        precision = n / s**2 + 1 / a**2
        mean = (total / s**2 + mu / a**2) / precision
        return dice.gauss(mean, math.sqrt(1 / precision + s**2))

    def lazy() -> Largest:
        found = Largest(
            draw=lambda i, u: model.reward(seen[i], u),
            reach=model.reach,
            dice=dice,
            value=model.reward(None, uniform(dice)),
        )
        found.of(ranked)
        return found

    one = [lazy() for _ in range(SEEDS)]
    two = list[tuple[float, int | None]]()
    for _ in range(SEEDS):
        best = max(((plain(child), i) for i, child in enumerate(seen)), key=lambda pair: pair[0])
        new = plain(None)
        two.append((new, None) if new >= best[0] else best)
    same_frequencies([found.thing for found in one], [i for _, i in two])
    same_law([found.value for found in one], [value for value, _ in two])


def student_beyond(t: float, nu: int) -> float:
    """P(T > t), by Simpson's rule over the angle of t = sqrt(nu) tan(angle)."""
    steps, low = 2_000, math.atan(t / math.sqrt(nu))
    width = (math.pi / 2 - low) / steps
    weights = [1, *([4, 2] * (steps // 2))[:-1], 1]
    area = math.fsum(w * math.cos(low + i * width) ** (nu - 1) for i, w in enumerate(weights))
    scale = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(math.pi)
    return scale * area * width / 3


@pytest.mark.parametrize("nu", [1, 2, 3, 4, 7, 30, 200])
@pytest.mark.parametrize("t", [0.5, 1.0, 4.0])
def test_the_polar_form_is_students(nu: int, t: float) -> None:
    """P(r(u) cos(2 pi v) > t), u integrated out by hand and v by the middle of an open interval."""
    steps = 10_000
    inside = 0.0
    for i in range(steps):
        cosine = math.cos(math.pi / 2 * (i + 0.5) / steps)
        inside += (1 + (t / cosine) ** 2 / nu) ** (-nu / 2)
    # Half of all angles have a cosine above 0.
    assert inside / steps / 2 == pytest.approx(student_beyond(t, nu), abs=1e-9)
    u = (1 + t * t / nu) ** (-nu / 2)
    assert math.sqrt(radius_squared(u, nu)) == pytest.approx(t, rel=1e-9)


def test_one_posterior_has_students_quantiles() -> None:
    belief, dice = PRIOR.given(observed([0.2, 0.9])), Random(3)
    drawn = [belief.draw(dice) for _ in range(40_000)]
    for t in (-2.0, -0.5, 0.0, 1.0, 3.0):
        share = sum(x > belief.m + t * belief.scale for x in drawn) / len(drawn)
        wanted = student_beyond(t, 3)
        assert share == pytest.approx(wanted, abs=5 * math.sqrt(wanted / len(drawn)))


U = st.floats(1e-150, 1 - 2**-53)
REWARDS = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(deadline=None, max_examples=300)
@given(rewards=REWARDS, u=U, turn=st.integers(0, 10**6))
def test_no_students_draw_is_above_its_bound(rewards: list[float], u: float, turn: int) -> None:
    belief = PRIOR.given(observed(rewards))
    bound = reach(similar(belief))
    drawn = belief.drawn(u, Random(turn))
    assert drawn <= (bound.location(belief.m) + bound.offset(u)) * (1 + 1e-12) + 1e-12
    assert belief.scale <= bound.scale <= 1.5 * belief.scale


@settings(deadline=None, max_examples=300)
@given(
    rewards=REWARDS,
    u=U,
    mu=st.floats(-0.5, 1.5),
    a=st.floats(0.01, 0.5),
    s=st.floats(0.01, 0.7),
    lower=st.floats(0, 1),
)
def test_no_rewards_draw_is_above_its_bound(
    rewards: list[float], u: float, mu: float, a: float, s: float, lower: float
) -> None:
    seen, model = observed(rewards), Drawn(mu=mu, between=a * a, within=s * s)
    bound = model.reach(count_class(seen.n))
    key = seen.mean + lower  # a bound holds for all of a lower key
    assert model.reward(seen, u) <= bound.location(key) + bound.offset(u) + 1e-9
    assert bound.location(key) - bound.location(seen.mean) <= lower + 1e-12


@settings(deadline=None, max_examples=100)
@given(u=U, v=U, nu=st.integers(1, 10_000))
def test_offsets_fall(u: float, v: float, nu: int) -> None:
    low, high = sorted((u, v))
    assert radius_squared(low, nu) >= radius_squared(high, nu) >= 0
    assert radius_squared(u, nu) >= radius_squared(u, nu + 1) * (1 - 1e-9) - 1e-9


@given(n=st.integers(1, 10**9))
def test_counts_are_in_their_classes(n: int) -> None:
    kind = count_class(n)
    assert fewest(kind) <= n
    assert n < 1.5 * fewest(kind) or n <= 3
    assert count_class(fewest(kind)) == kind
    assert count_class(n + 1) >= kind


def test_the_smallest_of_uniforms_has_its_law() -> None:
    """The mean of the smallest of k above a floor is floor + (1 - floor) / (k + 1)."""
    dice = Random(1)
    for floor, k in ((0.0, 1), (0.0, 9), (0.5, 4)):
        drawn = [least(floor, k, dice) for _ in range(20_000)]
        assert fmean(drawn) == pytest.approx(floor + (1 - floor) / (k + 1), abs=0.01)
        assert floor < min(drawn)
        assert max(drawn) < 1


class Ends(Random):
    """Dice that show an end of their interval."""

    def __init__(self, shown: float) -> None:
        super().__init__(0)
        self.shown = shown

    def random(self) -> float:
        return self.shown


@pytest.mark.parametrize("shown", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_are_drawn_of(shown: float) -> None:
    dice = Ends(shown)
    assert 0 < least(0.0, 3, dice) < 1
    assert 0 < least(1 - 2**-53, 3, dice) < 1
    posteriors = [PRIOR.given(observed([0.1 * i])) for i in range(9)]
    assert students(posteriors, ranked_by_posterior(posteriors), dice).thing is not None


def test_a_shuffle_is_fair() -> None:
    dice, count = Random(2), 6_000
    orders = Counter(tuple(shuffled(range(2, 5), dice)) for _ in range(count))
    assert len(orders) == 6
    for seen in orders.values():
        assert seen / count == pytest.approx(1 / 6, abs=0.03)


@given(
    things=st.lists(
        st.tuples(st.integers(0, 5), st.floats(0, 1), st.integers(0, 99)), unique_by=lambda t: t[2]
    ),
    salt=st.integers(0, 99),
)
def test_ranks_do_not_depend_on_how_they_came_about(
    things: list[tuple[int, float, int]], salt: int
) -> None:
    one, two = Ranked(), Ranked()
    for thing in things:
        one.put(*thing)
        one.take(*thing)
        one.put(*thing)
    Random(salt).shuffle(things)
    for thing in things:
        two.put(*thing)
    assert list(one.classes.items()) == list(two.classes.items())
    assert all(a < b for a, b in pairwise(one.classes))


# --- cost, counted ---


def noise(dice: Random) -> Iterator[float]:
    while True:
        yield dice.random()


def rare(dice: Random) -> Iterator[float]:
    """Nearly all bad."""
    while True:
        yield 1.0 if dice.random() < 0.01 else 0.0


def flat(_: Random) -> Iterator[float]:
    while True:
        yield 0.5


WORLDS: list[Callable[[Random], Iterator[float]]] = [noise, rare, flat]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("often", [False, True])
@pytest.mark.parametrize("kind", ["student", "reward"])
def test_what_is_drawn_does_not_grow_with_what_there_is(
    world: Callable[[Random], Iterator[float]], often: bool, kind: str
) -> None:
    """On average over many draws, of 10^2 to 10^4 children, seen once or up to eight times."""
    means = dict[int, float]()
    for count in (100, 1_000, 10_000):
        dice = Random(count)
        scores = world(dice)
        seen = [
            observed([next(scores) for _ in range(1 + i % 8 if often else 1)]) for i in range(count)
        ]
        means[count] = _drawn(seen, kind, dice)
    assert max(means.values()) < 40, means
    assert means[10_000] < 2 * means[1_000] + 5, means


def _drawn(seen: list[Scores], kind: str, dice: Random) -> float:
    posteriors = [PRIOR.given(child) for child in seen]
    model = Drawn(mu=0.5, between=0.04, within=0.09)
    drawn = 0

    def student(i: int, u: float) -> float:
        nonlocal drawn
        drawn += 1
        return posteriors[i].drawn(u, dice)

    def reward(i: int, u: float) -> float:
        nonlocal drawn
        drawn += 1
        return model.reward(seen[i], u)

    ranked = ranked_by_posterior(posteriors) if kind == "student" else ranked_by_mean(seen)
    for _ in range(200):
        if kind == "student":
            Largest(draw=student, reach=reach, dice=dice).of(ranked)
        else:
            Largest(draw=reward, reach=model.reach, dice=dice).of(ranked)
    return drawn / 200


@pytest.mark.parametrize("name", ["ab-mcts", "ab-mcts-m"])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_state_derives_is_what_it_kept_up(name: str, seed: int) -> None:
    """Rebuilt from the fields that are saved, the index and the sums are the same to the bit."""
    state: Arms | Branching = searched(METHODS[name], World(seed=seed).step)
    again = decoded(type(state), json.loads(json.dumps(encoded(state))))
    assert state.ranked.keys() == again.ranked.keys()
    for node, kept in state.ranked.items():
        assert list(kept.classes.items()) == list(again.ranked[node].classes.items())
    if isinstance(state, Branching) and isinstance(again, Branching):
        assert state.alike.keys() == again.alike.keys()
        for node, one in state.alike.items():
            two = again.alike[node]
            assert (one.precision, one.pull, one.misfit) == (two.precision, two.pull, two.misfit)
