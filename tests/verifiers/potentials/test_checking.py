"""The public check of potentials: ours pass it, and each law that one breaks is named."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.runtime import Grammar, InputError, Vocabulary
from ponder.verifiers import (
    Potential,
    Predicate,
    check_potential,
    json_schema,
    lark,
    potential_of,
    regex,
)

END = 5
VOCABULARY = Vocabulary([b"1", b"2", b"12", b",", None, None], frozenset({END}), 6)
"""A control token before the end."""
TEXTS = [
    (*text, *end) for n in range(4) for text in product(range(5), repeat=n) for end in ((), (END,))
]
SOME = [(0, 1, END), (2, END), (0, 3, 1, END), (3, 3), (0, 4)]

Weigh = Callable[["Odd", int], float]


@pytest.mark.parametrize(
    "grammar",
    [
        regex("1+2?"),
        json_schema({"type": "integer", "minimum": 10}),
        lark('start: number ("," number)*\nnumber: /[12]+/'),
    ],
    ids=lambda grammar: grammar.kind,
)
def test_grammars_keep_the_laws(grammar: Grammar) -> None:
    asyncio.run(check_potential(potential_of(grammar, {}), VOCABULARY, TEXTS[::7]))


def test_predicates_keep_the_laws() -> None:
    potential = Predicate(
        lambda text: 0.25 * text.endswith("2"), prefix=lambda text: 0.5 ** text.count(",")
    )
    asyncio.run(check_potential(potential, VOCABULARY, TEXTS))
    asyncio.run(potential.close())


words = st.lists(st.text("12,", max_size=4), min_size=1, max_size=4)


@given(words)
@settings(max_examples=15, deadline=None)
def test_a_list_of_words_keeps_them(words: list[str]) -> None:
    potential = Predicate(
        lambda text: text in words, prefix=lambda text: any(w.startswith(text) for w in words)
    )
    asyncio.run(check_potential(potential, VOCABULARY, SOME))
    asyncio.run(potential.close())


@pytest.mark.parametrize("refused", ["what may end", "what goes on"])
def test_a_prefix_function_that_refuses_what_is_wanted_is_found(refused: str) -> None:
    potential = Predicate(lambda text: refused == "what may end", prefix=lambda text: text != "1")
    with pytest.raises(InputError, match="contradicts itself: '1' weighs 0"):
        asyncio.run(check_potential(potential, VOCABULARY, SOME))
    asyncio.run(potential.close())


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A potential and guide that says of a token what `law` says, and may break."""

    law: Weigh
    said: tuple[int, ...] = ()
    marks: Callable[[Odd], Sequence[bool]] | None = None
    clock: Iterator[int] = field(default_factory=count)
    heard: list[int] = field(default_factory=list[int])
    """By all that came of this one."""

    def begin(self, vocabulary: Vocabulary) -> Odd:
        return replace(self, said=())

    def mask(self) -> npt.NDArray[np.bool_] | None:
        return None if self.marks is None else np.array(self.marks(self), dtype=np.bool_)

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        return [self.law(self, token) for token in tokens]

    async def after(self, token: int) -> Odd:
        self.heard.append(token)
        return replace(self, said=(*self.said, token))


def no(odd: Odd, token: int) -> float:
    return -math.inf if 4 in (token, *odd.said) else 0.0


def test_one_that_keeps_the_laws_passes() -> None:
    honest = Odd(law=no, marks=lambda odd: [no(odd, token) == 0 for token in range(6)])
    asyncio.run(check_potential(honest, VOCABULARY, TEXTS[:60]))


BROKEN: list[tuple[Odd, str]] = [
    (Odd(law=lambda odd, token: -float(next(odd.clock))), "asking twice"),
    (Odd(law=lambda odd, token: 0.5 if token == 0 else -1.0), "above 0"),
    (Odd(law=lambda odd, token: math.nan), "token 0 has nan; a log-ratio"),
    (Odd(law=lambda odd, token: math.inf), "token 0 has inf; a log-ratio is a number below inf"),
    (Odd(law=lambda odd, token: -math.inf if token == 0 else 0.0), "it weighs 0, but goes on"),
    (Odd(law=lambda odd, token: -float(len(odd.heard))), r"after\(0\) changed the guide"),
    (Odd(law=lambda odd, token: no(odd, token) - (token == 2)), "b'12' has log-weight -1.0 here"),
    (Odd(law=no, marks=lambda odd: [True] * 6), "token 4: the mask says True, weigh"),
    (Odd(law=no, marks=lambda odd: [True] * 4), r"the mask is \(4,\)"),
    (Odd(law=lambda odd, token: -float(token), marks=lambda odd: [True] * 6), "different weights"),
]


@pytest.mark.parametrize(("potential", "law"), BROKEN, ids=[law for _, law in BROKEN])
def test_a_broken_law_is_named(potential: Potential, law: str) -> None:
    with pytest.raises(InputError, match=law):
        asyncio.run(check_potential(potential, VOCABULARY, SOME))


def test_texts_end_where_they_end() -> None:
    with pytest.raises(InputError, match="end token 5 before its end"):
        asyncio.run(check_potential(Odd(law=no), VOCABULARY, [(0, END, 0)]))
