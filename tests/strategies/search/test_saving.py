"""States of searches as JSON: read back, they go on as those that were never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search_methods import METHODS
from worlds import World, added

from ponder.runtime import BranchPath, InputError, Standing
from ponder.strategies import AbMcts, AbMctsM
from ponder.strategies.search.method import Expansion, Planned
from ponder.strategies.search.saving import Rooted, SavedSearch, decoded, encoded
from ponder.strategies.search.tree import End, Tree

SEEDS = st.integers(0, 10**6)


def through_json(value: Any) -> Any:
    return decoded(type(value), json.loads(json.dumps(encoded(value))))


def searched(method: Any, world: World, halfway: Callable[[Any], Any], order: Random) -> list[Any]:
    """All trees on the way; before everything it is told, a state goes `halfway`."""
    state, pending = method.start(BranchPath(0, ("search",))), list[tuple[Expansion, range]]()
    trees: list[Any] = []
    while True:
        while method.in_flight is None or len(pending) < method.in_flight:
            asked = method.ask(state)
            if asked is None:
                break
            pending.append((asked, state.tree.reserve(asked.node, asked.width)))
        if not pending:
            return trees
        state = halfway(state)
        at = order.randrange(len(pending)) if method.in_flight is None else 0
        expansion, places = pending.pop(at)
        grown = [added(method, state, expansion, i, world.step) for i in places]
        method.tell(state, expansion, grown)
        state.tree.ended.clear()
        trees.append(
            [(n.place, n.value, n.end, tuple(n.children), n.asked) for n in state.tree.nodes]
        )


@settings(deadline=None, max_examples=5)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_state_read_back_goes_on_the_same(name: str, seed: int) -> None:
    method, world = METHODS[name], World(seed=seed)
    if isinstance(method, AbMcts | AbMctsM):
        method = replace(method, most_steps=25)
    kept = searched(method, world, lambda state: state, Random(seed))
    assert searched(method, world, through_json, Random(seed)) == kept


NUMBERS = st.floats() | st.just(float("-inf"))


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(),
    logprobs=st.lists(NUMBERS).map(tuple),
    score=st.none() | st.floats(0, 1),
    end=st.none() | st.sampled_from(End),
    seed=SEEDS,
)
def test_any_step_is_read_back_to_the_bit(
    text: str, logprobs: tuple[float, ...], score: float | None, end: End | None, seed: int
) -> None:
    step = replace(World(seed=seed).step((0,)), text=text, logprobs=logprobs, score=score, end=end)
    tree = Tree.planted()
    tree.add(0, 0, step, score)
    assert repr(through_json(tree)) == repr(tree)


STEPS = st.lists(st.integers(0, 9) | st.text(max_size=3), max_size=4).map(tuple)
STANDINGS = st.builds(
    Standing,
    path=st.builds(BranchPath, st.integers(0, 2**60), STEPS),
    tokens=st.lists(st.integers(0, 2**31)).map(tuple),
    own=st.integers(0, 99),
    forks=st.integers(0, 99),
)


@settings(deadline=None, max_examples=100)
@given(one=STANDINGS, other=STANDINGS, bare=st.none() | STANDINGS, node=st.integers(0, 99))
def test_where_branches_stand_is_read_back(
    one: Standing, other: Standing, bare: Standing | None, node: int
) -> None:
    saved = SavedSearch(
        state={"some": ["thing", 1.5, None]},
        under_way=[Planned(expansion=Expansion(node=node, width=2, lane=1), first=3)],
        rooted={node: Rooted(branch=one, shadow=other)},
        bare=bare,
    )
    assert through_json(saved) == saved


class Mood(Enum):
    GOOD = "good"


@dataclass(slots=True, kw_only=True)
class Made:
    """As a method of a user's own may have it."""

    mood: Mood = Mood.GOOD
    numbers: set[int] = field(default_factory=lambda: {3, 1, 2})
    pairs: dict[int, dict[int, tuple[float, str]]] = field(default_factory=lambda: {1: {}})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mood": "bad"}, "mood: Input should be 'good'"),
        ({"numbers": ["1"]}, "numbers.0"),
        ({"pairs": {"x": {}}}, "pairs"),
        ({"pairs": []}, "pairs"),
        ({"new": 1}, "other fields"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, object], why: str) -> None:
    good = encoded(Made())
    assert through_json(Made()) == Made()
    with pytest.raises(InputError, match=f"no Made of this version .*{why}"):
        decoded(Made, {**good, **change})
    with pytest.raises(InputError, match="it has other fields"):
        decoded(Made, {"mood": "good"})
