"""Grouping votes: keys first, then comparisons between first members only."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ponder.verifiers import ExactEquivalence, canonical, group


class Recording:
    """Exact equivalence that also holds an expanded square equal to its product."""

    def __init__(self) -> None:
        self.asked = list[tuple[str, str]]()

    async def same(self, a: str, b: str) -> bool:
        self.asked.append((a, b))
        return {a, b} == {"(x+1)^2", "x^2+2x+1"} or await ExactEquivalence().same(a, b)


def test_groups_in_order_of_appearance() -> None:
    answers = ["1/2", None, "7", "0.5", "(x+1)^2", "seven", "x^2+2x+1", "7.0", None]
    recording = Recording()
    assert asyncio.run(group(answers, recording)) == [0, None, 1, 0, 2, 3, 2, 1, None]
    # Equal keys never ask, and nobody but a group's first member is compared.
    assert recording.asked == [
        ("1/2", "7"),
        ("1/2", "(x+1)^2"),
        ("7", "(x+1)^2"),
        ("1/2", "seven"),
        ("7", "seven"),
        ("(x+1)^2", "seven"),
        ("1/2", "x^2+2x+1"),
        ("7", "x^2+2x+1"),
        ("(x+1)^2", "x^2+2x+1"),
    ]


def test_nothing_to_group() -> None:
    assert asyncio.run(group([], ExactEquivalence())) == []
    assert asyncio.run(group([None, None], ExactEquivalence())) == [None, None]


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3).map(str)), max_size=12))
def test_integers_group_by_value(answers: list[str | None]) -> None:
    groups = asyncio.run(group(answers, ExactEquivalence()))
    assert [g is None for g in groups] == [a is None for a in answers]
    pairs = [(a, g) for a, g in zip(answers, groups, strict=True) if a is not None]
    assert len({(canonical(a), g) for a, g in pairs}) == len({g for _, g in pairs})
    firsts = list(dict.fromkeys(g for _, g in pairs))
    assert firsts == list(range(len(firsts)))
