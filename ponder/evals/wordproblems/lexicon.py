"""The words of the word problems: people, things, and numbers joined to nouns grammatically."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A thing that can be counted."""

    one: str
    many: str

    def of(self, n: int) -> str:
        return self.one if n == 1 else self.many


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody in a story."""

    name: str
    they: str
    """The pronoun: "she" or "he"."""

    @property
    def their(self) -> str:
        return "her" if self.they == "she" else "his"

    @property
    def them(self) -> str:
        return "her" if self.they == "she" else "him"

    def __str__(self) -> str:
        return self.name


def noun(one: str, many: str | None = None) -> Noun:
    return Noun(one=one, many=many or one + "s")


def count(n: int, thing: Noun) -> str:
    """As in "1 apple", "3 apples"."""
    return f"{n} {thing.of(n)}"


def more(n: int, thing: Noun) -> str:
    """As in "1 more apple", "3 more apples"."""
    return f"{n} more {thing.of(n)}"


SHE = [
    "Mia",
    "Anna",
    "Lucy",
    "Rosa",
    "Nina",
    "Emma",
    "Sara",
    "Leila",
    "Grace",
    "Olga",
    "Priya",
    "Hana",
    "Zoe",
    "Ruth",
    "Amina",
    "Carla",
]
HE = [
    "Ben",
    "Tom",
    "Omar",
    "Leo",
    "Sam",
    "Ivan",
    "Max",
    "Noah",
    "Ravi",
    "Jack",
    "Paul",
    "Hugo",
    "Felix",
    "Marco",
    "Kofi",
    "Adam",
]
PEOPLE = [Person(name=n, they="she") for n in SHE] + [Person(name=n, they="he") for n in HE]

THINGS = [
    noun("apple"),
    noun("marble"),
    noun("sticker"),
    noun("shell"),
    noun("pencil"),
    noun("stamp"),
    noun("button"),
    noun("cookie"),
    noun("balloon"),
    noun("postcard"),
    noun("bead"),
    noun("coin"),
    noun("plum"),
    noun("walnut"),
    noun("toy car"),
    noun("crayon"),
    noun("badge"),
    noun("candle"),
]
"""Things that one person can own, give away, find and share."""

BERRIES = [
    noun("strawberry", "strawberries"),
    noun("cherry", "cherries"),
    noun("peach", "peaches"),
    noun("pear"),
    noun("tomato", "tomatoes"),
    noun("mushroom"),
    noun("fig"),
    noun("lemon"),
]
"""Things that are picked."""

GOODS = [
    noun("notebook"),
    noun("pen"),
    noun("mug"),
    noun("book"),
    noun("ticket"),
    noun("poster"),
    noun("brush", "brushes"),
    noun("plant"),
    noun("cap"),
    noun("scarf", "scarves"),
    noun("puzzle"),
    noun("lamp"),
]
"""Things with a price."""

DOLLAR, YEAR, MINUTE = noun("dollar"), noun("year"), noun("minute")
