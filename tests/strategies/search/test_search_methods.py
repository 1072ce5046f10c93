"""Tree searches as pure decisions: against enumeration, their sources' numbers, and their laws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Place, World, searched

from ponder.runtime import BranchPath, Finish, InputError
from ponder.strategies import AbMcts, AbMctsM, AStar, Beam, Dvts, Mcts, Rebase
from ponder.strategies.search.abmcts import PRIOR, Scores
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.mcts import puct
from ponder.strategies.search.rebase import balanced
from ponder.strategies.search.tree import End, Grown

SEEDS = st.integers(0, 10**6)
METHODS: dict[str, Any] = {  # of several states
    "beam": Beam(verifier="process_reward", width=8, expand=2),
    "beam of one": Beam(verifier="process_reward", width=4, expand=4),
    "dvts": Dvts(verifier="process_reward", width=8, expand=2),
    "rebase": Rebase(verifier="process_reward", width=8),
    "astar rise": AStar(verifier="process_reward", expand=3),
    "astar drop": AStar(verifier="process_reward", expand=3, path_cost="drop", parallel=4),
    "mcts": Mcts(verifier="process_reward", expand=3, simulations=40),
    "mcts uct": Mcts(verifier="process_reward", expand=2, rule="uct", parallel=3),
    "ab-mcts": AbMcts(verifier="process_reward", most_steps=120),
    "ab-mcts-m": AbMctsM(verifier="process_reward", most_steps=120),
    "astar goals": AStar(verifier="process_reward", expand=2, goals=3, frontier=5),
}


def shape(state: Any) -> dict[Place, tuple[float | None, End | None]]:
    """The tree, whatever its nodes are numbered."""
    return {node.place: (node.value, node.end) for node in state.tree.nodes}


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, salt=SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_the_tree_does_not_depend_on_who_finishes_first(name: str, seed: int, salt: int) -> None:
    method, world = METHODS[name], World(seed=seed)
    one = searched(method, world.step)
    two = searched(method, world.step, Random(salt))
    assert shape(one) == shape(two)
    assert [n.place for n in method.leaves(one)] == [n.place for n in method.leaves(two)]


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_every_search_ends_with_complete_paths(name: str, seed: int) -> None:
    method = METHODS[name]
    state = searched(method, World(seed=seed).step)
    leaves = method.leaves(state)
    assert leaves
    assert any(leaf.end is End.GOAL for leaf in leaves)
    for node in state.tree.nodes:
        assert node.end is not None or isinstance(method, AStar | Mcts | AbMcts | AbMctsM)
        assert node.end is not End.EXPANDED or node.children


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_unscored_steps_end_their_paths_and_nothing_is_made_up(name: str, seed: int) -> None:
    world = World(seed=seed)

    def failing(place: Place) -> Grown:
        step = world.step(place)
        if sum(place) % 2:
            end = step.end or End.UNSCORED
            return replace(step, score=None, failure="the verifier is down", end=end)
        return step

    method = METHODS[name]
    state = searched(method, failing)
    for node in state.tree.nodes[1:]:
        if node.step.failure is not None:
            assert node.value is None
            assert not node.children
    assert method.leaves(state)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_policy_that_is_cut_short_leaves_a_search_that_can_be_answered(
    name: str, seed: int
) -> None:
    """Fewer children than asked for, none at times."""
    method, world = METHODS[name], World(seed=seed)
    state = method.start(BranchPath(0))
    dice = Random(seed)
    for _ in range(200):
        expansion = method.ask(state)
        if expansion is None:
            break
        places = state.tree.reserve(expansion.node, expansion.width)
        above = state.tree[expansion.node]
        grown = [
            state.tree.add(above.number, i, step, step.score)
            for i in places
            if dice.random() < 0.5
            for step in [world.step((*above.place, i))]
        ]
        method.tell(state, expansion, grown)
    assert method.ask(state) is None
    assert bool(method.leaves(state)) == (len(state.tree.nodes) > 1)


# --- A* ---


def everything(world: World, expand: int) -> Iterator[list[Place]]:
    """Places of all complete paths of the sampled tree, each from its first step on."""

    def below(place: Place) -> Iterator[list[Place]]:
        for i in range(expand):
            at = (*place, i)
            if world.step(at).end is End.GOAL:
                yield [at[: k + 1] for k in range(len(at))]
            else:
                yield from below(at)

    yield from below(())


def cost(world: World, path: list[Place], path_cost: str) -> float:
    """f of a complete path, from its definition."""
    start = 0.5 if path_cost == "drop" else 0.0
    doubts = [start, *(1 - (world.step(place).score or 0.0) for place in path)]
    sign = 1 if path_cost == "rise" else -1
    g = 0.0
    for before, after in pairwise(doubts):
        g += max(0.0, sign * (after - before))
    return g + doubts[-1]


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, parallel=st.sampled_from([1, 2, 5]))
def test_a_star_with_consistent_costs_finds_the_optimum_of_the_sampled_tree(
    seed: int, parallel: int
) -> None:
    world = World(seed=seed)
    method = AStar(verifier="process_reward", expand=3, path_cost="drop", parallel=parallel)
    state = searched(method, world.step)
    (goal,) = method.leaves(state)
    path = [node.place for node in state.tree.path(goal.number)]
    best = min(cost(world, p, "drop") for p in everything(world, 3))
    assert cost(world, path, "drop") == pytest.approx(best)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_a_star_pops_goals_from_the_best_on(seed: int) -> None:
    world = World(seed=seed)
    goals = sum(1 for _ in everything(world, 2))
    method = AStar(verifier="process_reward", expand=2, path_cost="drop", goals=goals)
    state = searched(method, world.step)
    found = [[n.place for n in state.tree.path(leaf.number)] for leaf in method.leaves(state)]
    costs = [cost(world, path, "drop") for path in found]
    assert len(found) == goals
    assert all(a <= b + 1e-9 for a, b in pairwise(costs))


@pytest.mark.parametrize(
    ("path_cost", "expected"),
    [("rise", [0.5, 0.3, 0.5, 0.3, 1.1]), ("drop", [0.5, 0.5, 0.6, 0.6, 1.0])],
)
def test_path_costs_are_the_dossiers(path_cost: str, expected: list[float]) -> None:
    """h along a path = .5, .3, .4, .2, .6, its first entry the root's."""
    doubts = [0.5, 0.3, 0.4, 0.2, 0.6]
    total, found = 0.0, [doubts[0]]
    for before, after in pairwise(doubts):
        rise = after - before if path_cost == "rise" else before - after
        total += max(0.0, rise)
        found.append(total + after)
    assert found == pytest.approx(expected)
    # The method's f is that of the steps, and what the step below the root costs.
    method = AStar(verifier="process_reward", expand=1, path_cost=path_cost)
    state = searched(method, lambda place: chain(doubts, place))
    root = method.start(BranchPath(0)).heap[0][0]
    f = [state.cost[n.number] + 1 - (n.value or 0.0) for n in state.tree.nodes[1:]]
    first = max(0.0, doubts[0] - root) if path_cost == "rise" else max(0.0, root - doubts[0])
    assert f == pytest.approx([value + first for value in expected])


def chain(doubts: list[float], place: Place) -> Grown:
    last = len(place) == len(doubts)
    return Grown(
        text="x",
        tokens=1,
        logprobs=(),
        finish=Finish.EOS if last else Finish.STOP,
        score=1 - doubts[len(place) - 1],
        end=End.GOAL if last else None,
    )


# --- Monte-Carlo trees ---


def test_puct_is_the_dossiers() -> None:
    assert puct(0.5, 1.0, 10, 3) == pytest.approx(1.488654, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5], (0.25, 2, 2, 0.1125)),
        ([0.2, 0.8], (1 / 3, 3, 3, 0.148889)),
        ([1.0, 1.0, 1.0], (0.75, 4, 4, 0.2125)),
    ],
)
def test_posteriors_are_the_dossiers(scores: list[float], expected: tuple[float, ...]) -> None:
    seen = Scores()
    for score in scores:
        seen.add(score)
    found = PRIOR.given(seen)
    assert (found.m, found.kappa, found.nu, found.tau2) == pytest.approx(expected, abs=1e-6)


def test_a_posterior_is_drawn_from() -> None:
    """The mean of many draws is m; their spread is that of a t distribution of nu degrees: with
    many observations nearly normal.
    """
    seen = Scores()
    for i in range(200):
        seen.add(0.4 + 0.2 * (i % 2))
    posterior, dice = PRIOR.given(seen), Random(5)
    drawn = [posterior.draw(dice) for _ in range(20_000)]
    mean = math.fsum(drawn) / len(drawn)
    variance = math.fsum((x - mean) ** 2 for x in drawn) / len(drawn)
    wanted = posterior.tau2 / posterior.kappa * posterior.nu / (posterior.nu - 2)
    assert mean == pytest.approx(posterior.m, abs=3e-4)
    assert variance == pytest.approx(wanted, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", ["mcts", "mcts uct"])
def test_visits_and_values_add_up(name: str, seed: int) -> None:
    """A node's visits are its own and its descendants', its total their values."""
    method = METHODS[name]
    state = searched(method, World(seed=seed).step)

    def below(number: int) -> list[float]:
        node = state.tree[number]
        own = [node.value or 0.0] if number else []
        return own + [v for child in node.children for v in below(child)]

    for node in state.tree.nodes:
        values = below(node.number)
        assert state.count[node.number] == len(values)
        assert state.total[node.number] == pytest.approx(math.fsum(values))


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_every_score_is_counted_once_on_each_arm_above(seed: int) -> None:
    method = METHODS["ab-mcts"]
    state = searched(method, World(seed=seed).step)
    for node in state.tree.nodes:
        if node.number not in state.wider:
            continue
        descendants = [n for n in state.tree.nodes if n.place[: node.depth] == node.place][1:]
        fresh = [n for n in descendants if n.depth == node.depth + 1]
        assert state.wider[node.number].n == len(fresh)
        assert state.deeper[node.number].n == len(descendants) - len(fresh)
        for child in fresh:
            under = [n for n in descendants if n.place[: child.depth] == child.place]
            assert state.child[child.number].n == len(under)
            mean = math.fsum(n.value or 0.0 for n in under) / len(under)
            assert state.child[child.number].mean == pytest.approx(mean)


@pytest.mark.parametrize("name", ["mcts", "ab-mcts", "ab-mcts-m", "astar drop"])
def test_the_work_goes_where_the_reward_is(name: str) -> None:
    """One first step is good and the others are bad: most steps are drawn below it."""

    def lopsided(place: Place) -> Grown:
        step = World(seed=1, depth=5, ends=0.0).step(place)
        noise = (step.score or 0.0) / 10  # equal scores below a node would tell AB-MCTS-M nothing
        return replace(step, score=(0.9 if place[0] == 1 else 0.0) + noise)

    state = searched(METHODS[name], lopsided)
    steps = [n for n in state.tree.nodes if n.depth > 1]
    first = sum(n.depth == 1 for n in state.tree.nodes)
    assert sum(n.place[0] == 1 for n in steps) > max(0.5, 1.5 / first) * len(steps)


# --- widths ---


@pytest.mark.parametrize(
    ("rewards", "width", "expected"),
    [
        ([0.9, 0.7, 0.5, 0.1], 16, [11, 4, 1, 0]),
        ([0.5] * 4, 16, [4, 4, 4, 4]),
        ([0.5] * 3, 4, [2, 1, 1]),
        ([0.9, 0.85, 0.3, 0.2], 8, [5, 3, 0, 0]),
        ([0.9, 0.8, 0.7, 0.6, 0.5], 3, [2, 1, 0, 0, 0]),
        ([0.9, 0.1], 4, [4, 0]),
        ([], 4, []),
    ],
)
def test_rebase_shares(rewards: list[float], width: int, expected: list[int]) -> None:
    assert balanced(rewards, width, 0.2) == expected


@settings(deadline=None, max_examples=50)
@given(
    rewards=st.lists(st.floats(0, 1), min_size=1, max_size=64),
    width=st.integers(0, 256),
    temperature=st.floats(1e-3, 100),
)
def test_rebase_shares_sum_to_the_width(
    rewards: list[float], width: int, temperature: float
) -> None:
    shares = balanced(sorted(rewards, reverse=True), width, temperature)
    assert sum(shares) == width
    assert all(a >= b for a, b in pairwise(shares)) or math.isclose(
        max(rewards), min(rewards), abs_tol=temperature
    )


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_rebase_never_holds_more_paths_than_its_width(seed: int) -> None:
    method = Rebase(verifier="process_reward", width=8)
    state = searched(method, World(seed=seed).step)
    for depth in range(1, 5):
        level = [n for n in state.tree.nodes if n.depth == depth]
        done = [n for n in state.tree.nodes if n.end is End.GOAL and n.depth < depth]
        assert len(level) + len(done) <= 8


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_one_subtree_is_a_beam_that_keeps_one(seed: int) -> None:
    """DVTS of one subtree and a beam of one prefix are both greedy best-of-M by steps, as long as
    no path is complete.
    """
    world = World(seed=seed, ends=0.0)
    beam = searched(Beam(verifier="process_reward", width=4, expand=4), world.step)
    subtree = searched(Dvts(verifier="process_reward", width=4, expand=4), world.step)
    assert {n.place for n in beam.tree.nodes} == {n.place for n in subtree.tree.nodes}


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS)
def test_a_beam_keeps_the_best_of_each_level(seed: int) -> None:
    state = searched(Beam(verifier="process_reward", width=8, expand=2), World(seed=seed).step)
    for depth in range(1, 4):
        level = [n for n in state.tree.nodes if n.depth == depth and n.end is not End.GOAL]
        kept = [n.value or 0.0 for n in level if n.end is End.EXPANDED]
        dropped = [n.value or 0.0 for n in level if n.end is End.PRUNED]
        assert len(kept) <= 4
        if kept and dropped:
            assert min(kept) >= max(dropped)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("last", 0.5), ("min", 0.2), ("prod", 0.08), ("mean", 0.5), ("model", 0.5)],
)
def test_aggregations(how: str, expected: float) -> None:
    assert aggregate(how, [0.8, 0.2, 0.5]) == pytest.approx(expected)
    assert aggregate(how, []) is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Beam(verifier="process_reward", width=0), "width is 0"),
        (lambda: Beam(verifier="process_reward", width=8, expand=3), "must divide width"),
        (lambda: Beam(verifier="proces_reward"), "did you mean 'process_reward'"),
        (lambda: Dvts(verifier="process_reward", expand=0), "expand is 0"),
        (lambda: Rebase(verifier="process_reward", balance=0.0), "balance is 0.0"),
        (lambda: AStar(verifier="process_reward", path_cost="fall"), "path_cost"),
        (lambda: AStar(verifier="process_reward", frontier=0), "frontier is 0"),
        (lambda: AStar(verifier="process_reward", parallel=0), "parallel is 0"),
        (lambda: Beam(verifier="process_reward", depth=0), "depth is 0"),
        (lambda: Beam(verifier="process_reward", lookahead=-1), "lookahead is -1"),
        (lambda: Beam(verifier="process_reward", goal=("",)), "goal is"),
        (lambda: Beam(verifier="process_reward", aggregate="max"), "aggregation"),
        (lambda: Beam(verifier="process_reward", temperature=-1.0), "temperature"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, said: str) -> None:  # a lambda
    with pytest.raises(InputError, match=said):
        make()
