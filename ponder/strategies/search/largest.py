"""The largest of many independent draws, found without drawing most of them; knows no search.

A draw is made with a uniform u, and lies above its location by no more than an offset that falls
in u: the normal quantile of 1 - u, which is the draw itself, or for Student's t the radius of
Bailey's polar form, r(u) cos(2 pi v) (Math. Comp. 62, 1994). Of k things alike the smallest u is
that of k uniforms, the next the smallest of k - 1 above it, each on a thing at random; once u is so
large that no draw can win, all larger ones are left undrawn. The winner has exactly the law that it
has where everything is drawn.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

_NARROW = 1.0
"""Things whose locations differ by no more than this times their scale are treated as alike."""
_LEAST, _MOST = 1e-150, 1 - 2.0**-53
"""Of a u: its offset is finite, and there is one."""
_FEW = 3
"""So many of a class are sooner drawn than bounded."""


class Reach(Protocol):
    """What bounds the draws of a class."""

    @property
    def scale(self) -> float:
        """What differences of locations are small beside."""
        ...

    def location(self, key: float) -> float:
        """Of a thing of this key or less, at most; does not fall in `key`, nor rise faster."""
        ...

    def offset(self, u: float) -> float:
        """How far above its location a draw of this u or more may be, of any of the class."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Ranked:
    """Things by class, in each by key. The order does not depend on how it came about."""

    classes: dict[int, list[tuple[float, int]]] = field(
        default_factory=dict[int, list[tuple[float, int]]]
    )
    """In rising order of the classes' numbers."""

    def put(self, kind: int, key: float, thing: int) -> None:
        if kind not in self.classes:
            self.classes = dict(sorted([*self.classes.items(), (kind, [])]))
        insort(self.classes[kind], (key, thing))

    def take(self, kind: int, key: float, thing: int) -> None:
        members = self.classes[kind]
        del members[bisect_left(members, (key, thing))]
        if not members:
            del self.classes[kind]


@dataclass(slots=True, kw_only=True, eq=False)
class Largest:
    """The best draw so far."""

    draw: Callable[[int, float], float]
    """Of a thing, given its u."""
    reach: Callable[[int], Reach]
    """Of a class."""
    dice: Random
    value: float = -math.inf
    """At first, what a draw must be above."""
    thing: int | None = None

    def of(self, ranked: Ranked) -> int | None:
        """The thing of the largest draw; None where none is above `value`."""
        for kind, members in ranked.classes.items():
            if len(members) > _FEW:
                self._among(members, self.reach(kind))
            else:
                for _, thing in members:
                    self._try(thing, uniform(self.dice))
        return self.thing

    def _among(self, members: list[tuple[float, int]], reach: Reach) -> None:
        """Of one class, from the highest location down, in spans of things nearly alike; `u` is the
        smallest of all that are left.
        """
        left, width = len(members), _NARROW * reach.scale
        u = least(0.0, left, self.dice)
        while left:
            top = members[left - 1][0]
            limit = reach.location(top)
            if limit + reach.offset(u) <= self.value:
                return
            start = bisect_left(members, (top - width, -1), 0, left)
            inside = start == 0 or self.dice.random() * left < left - start
            first = u if inside else least(u, left - start, self.dice)
            self._span(members, range(start, left), limit, reach, first)
            left = start
            if inside and left:
                u = least(u, left, self.dice)

    def _span(
        self, members: list[tuple[float, int]], span: range, limit: float, reach: Reach, u: float
    ) -> None:
        left = len(span)
        for at in shuffled(span, self.dice):
            if limit + reach.offset(u) <= self.value:
                return
            self._try(members[at][1], u)
            left -= 1
            if left:
                u = least(u, left, self.dice)

    def _try(self, thing: int, u: float) -> None:
        value = self.draw(thing, u)
        if value > self.value:
            self.thing, self.value = thing, value


def uniform(dice: Random) -> float:
    """On (0, 1), without either end."""
    return dice.random() or _LEAST


def least(floor: float, count: int, dice: Random) -> float:
    """The smallest of `count` uniforms between `floor` and 1, neither 0 nor 1."""
    share = -math.expm1(math.log(uniform(dice)) / count)
    return min(floor + (1.0 - floor) * share, _MOST) or _LEAST


def shuffled(span: range, dice: Random) -> Iterator[int]:
    """In random order, each drawn when it is asked for (Fisher and Yates)."""
    moved = dict[int, int]()
    for left in range(len(span), 0, -1):
        at, last = int(dice.random() * left), left - 1
        yield span[moved.get(at, at)]
        moved[at] = moved.get(last, last)


def count_class(n: int) -> int:
    """Which of the classes 1, 2, 3, 4-5, 6-7, 8-11, 12-15, ... a count n >= 1 is in."""
    bits = n.bit_length()
    return 2 * bits + (2 * n >> bits - 1 & 1)


def fewest(kind: int) -> int:
    """The smallest count of a class of `count_class`."""
    return (2 + (kind & 1)) << (kind >> 1) >> 2
