"""Things that happen to a quantity in a story: each adds a sentence and one step.

A list of events is what a family offers; `happen` picks those that fit, never the same one twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ponder.evals.wordproblems.draw import Draw
from ponder.evals.wordproblems.lexicon import Noun, Person, count, more
from ponder.evals.wordproblems.story import Story

LINKS = ("Then", "Later", "After that,", "Next,")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change by a fresh amount.

    In its sentence `{amount}` becomes "3 apples", `{more}` "3 more apples", `{n}` "3", and `{who}`
    the one whose quantity it is.
    """

    operator: Literal["+", "-"]
    sentence: str
    """Without its first connecting word and the full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What `happen` needs to know of a family's quantity."""

    who: Person
    """Whose it is."""
    noun: Noun
    tail: str
    """Words behind the noun in the solution."""
    reach: int
    """The largest fresh amount."""


def gain(sentence: str) -> Event:
    return Event(operator="+", sentence=sentence)


def loss(sentence: str) -> Event:
    return Event(operator="-", sentence=sentence)


def happen(
    story: Story, draw: Draw, value: int, events: Sequence[Event], n: int, setting: Setting
) -> int:
    """`n` different events happen to `value`, which stays at 1 or above; gives the new value."""
    left = list(events)
    for position in range(n):
        fitting = [e for e in left if e.operator == "+" or value >= 3]
        event = draw.choice(fitting)
        left.remove(event)
        top = setting.reach if event.operator == "+" else min(setting.reach, value - 1)
        amount = draw.integer(min(2, top), top)
        sentence = event.sentence.format(
            # Later the pronoun could mean a friend who came in between.
            who=setting.who if position else setting.who.they,
            n=amount,
            amount=count(amount, setting.noun),
            more=more(amount, setting.noun),
        )
        link = f"{draw.choice(LINKS)} " if position else ""
        story.say(f"{link}{sentence}.")
        value = story.step(value, event.operator, amount, setting.noun, setting.tail)
    return value
