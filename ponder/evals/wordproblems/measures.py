"""Families about measures: ages, units, rectangles, travel and production."""

from __future__ import annotations

from itertools import pairwise

from ponder.evals.wordproblems.draw import Draw
from ponder.evals.wordproblems.events import Event, Setting, gain, happen, loss
from ponder.evals.wordproblems.lexicon import (
    DOLLAR,
    MINUTE,
    PEOPLE,
    YEAR,
    Noun,
    Person,
    count,
    noun,
)
from ponder.evals.wordproblems.story import Problem, Story

OLDEST = 60
"""No one in a story gets older by being compared than about this."""


def ages(draw: Draw, steps: int, reach: int) -> Problem:
    """Older, younger, times as old; in some years; together."""
    story = Story()
    finish = draw.choice(["now", "later", "sum"]) if steps > 1 else draw.choice(["now", "later"])
    links = steps if finish == "now" else steps - 1
    people = draw.some(PEOPLE, links + 1)
    years = [draw.integer(4, max(12, min(reach, 20)))]
    story.say(f"{people[0]} is {count(years[0], YEAR)} old.")
    for before, who in pairwise(people):
        years.append(_relate(story, draw, years[-1], before, who))
    last = people[-1]
    if finish == "later":
        wait = draw.integer(2, 20)
        story.step(years[-1], "+", wait, YEAR, "old then")
        return story.finish("ages", f"How old will {last} be in {wait} years?")
    if finish == "sum":
        story.step(years[-2], "+", years[-1], YEAR, "together")
        pair = f"{people[-2]} and {last}"
        return story.finish("ages", f"How many years old are {pair} together?")
    return story.finish("ages", f"How old is {last}?")


def _relate(story: Story, draw: Draw, years: int, before: Person, who: Person) -> int:
    tail = f"for {who}"
    kinds = ["older"] + (["twice"] if years <= OLDEST // 2 else []) + ["younger"] * (years > 6)
    kind = draw.choice(kinds)
    if kind == "twice":
        factor = draw.integer(2, 2 if years > OLDEST // 3 else 3)
        words = "twice" if factor == 2 else f"{factor} times"
        story.say(f"{who} is {words} as old as {before}.")
        return story.step(years, "*", factor, YEAR, tail)
    if kind == "younger":
        amount = draw.integer(2, min(years - 3, 12))
        story.say(f"{who} is {count(amount, YEAR)} younger than {before}.")
        return story.step(years, "-", amount, YEAR, tail)
    amount = draw.integer(2, 12)
    story.say(f"{who} is {count(amount, YEAR)} older than {before}.")
    return story.step(years, "+", amount, YEAR, tail)


FOOT, INCH, WEEK, DAY = noun("foot", "feet"), noun("inch", "inches"), noun("week"), noun("day")
HOUR, METER, CENTIMETER = noun("hour"), noun("meter"), noun("centimeter")
UNITS = [
    (HOUR, MINUTE, 60, "a film", ["a pause", "a talk", "a song"]),
    (WEEK, DAY, 7, "a trip", ["a detour", "a stop", "a rest"]),
    (FOOT, INCH, 12, "a rope", ["a second piece", "a ribbon", "a string"]),
    (METER, CENTIMETER, 100, "a shelf", ["a board", "a strip", "an end piece"]),
]


def units(draw: Draw, steps: int, reach: int) -> Problem:
    """A long measure in the smaller unit, then changed."""
    story = Story()
    who = draw.choice(PEOPLE)
    large, small, factor, what, extras = draw.choice(UNITS)
    number = draw.integer(2, reach)
    odd = draw.integer(2, factor - 1) if steps > 1 else 0
    size = count(number, large) + (f" and {count(odd, small)}" if odd else "")
    story.say(f"{who} plans {what} of {size}.")
    value = story.step(number, "*", factor, small, f"in {count(number, large)}")
    if odd:
        value = story.step(value, "+", odd, small, "at first")
    events: list[Event] = [
        gain(f"{{who}} adds {extras[0]} of {{amount}}"),
        gain(f"{{who}} adds {extras[1]} of {{amount}}"),
        loss("{who} leaves out {amount}"),
        loss("{who} cuts {amount}"),
    ]
    setting = Setting(who=who, noun=small, tail="now", reach=reach)
    happen(story, draw, value, events, max(0, steps - 2), setting)
    whole = "that" if steps == 1 else f"{who.their} {what.split(' ', 1)[1]} now"
    return story.finish("units", f"How many {small.many} long is {whole}?")


PLOTS = ["garden", "field", "yard", "playground", "terrace", "meadow"]


def rectangles(draw: Draw, steps: int, reach: int) -> Problem:
    """Area or perimeter of a rectangle, and what covers or fences it."""
    story = Story()
    who = draw.choice(PEOPLE)
    plot = draw.choice(PLOTS)
    wide = draw.integer(2, reach)
    long = draw.integer(wide + 1, wide + reach)
    story.say(f"{who} has a {plot} that is {long} meters long and {wide} meters wide.")
    fence = steps > 1 and draw.chance()
    square = noun("square meter")
    if fence:
        half = story.step(long, "+", wide, METER, "for two sides")
        value = story.step(half, "*", 2, METER, "around")
        unit, done = METER, "How many meters of fence go around it?"
    else:
        value = story.step(long, "*", wide, square)
        unit, done = square, f"What is the area of the {plot} in square meters?"
    left = steps - len(story.steps)
    if not left:
        return story.finish("rectangles", done)
    price = draw.integer(2, min(9, reach))
    cover = "A fence around it" if fence else "Grass for all of it"
    story.say(f"{cover} costs ${price} for each {unit.one}.")
    value = story.step(value, "*", price, DOLLAR, "for the work")
    events = [
        gain("{who} also pays ${n} for a gate"),
        gain("{who} also buys a bench for ${n}"),
        gain("{who} pays ${n} to a helper"),
        loss("a neighbor pays ${n} of the cost"),
        loss("the town pays ${n} of the cost"),
    ]
    setting = Setting(who=who, noun=DOLLAR, tail="so far", reach=reach)
    happen(story, draw, value, events, left - 1, setting)
    return story.finish("rectangles", f"How many dollars does {who} pay in all?")


RATES: list[tuple[str, Noun, Noun, str]] = [
    ("travels", noun("kilometer"), HOUR, "travel"),
    ("types", noun("page"), HOUR, "type"),
    ("paints", noun("tile"), HOUR, "paint"),
    ("folds", noun("paper crane"), MINUTE, "fold"),
    ("packs", noun("parcel"), HOUR, "pack"),
    ("waters", noun("tree"), HOUR, "water"),
]


def rates(draw: Draw, steps: int, reach: int) -> Problem:
    """So many an hour for so many hours; two stretches, and a goal."""
    story = Story()
    who = draw.choice(PEOPLE)
    does, thing, time, do = draw.choice(RATES)
    parts = (steps + 1) // 2
    total = 0
    when = ["", "After a rest, ", "In the evening, "]
    for part in range(parts):
        rate, length = draw.integer(2, reach), draw.integer(2, min(9, reach))
        whom = who.name if part == 0 else who.they
        story.say(f"{when[part]}{whom} {does} {count(rate, thing)} each {time.one}.")
        story.say(f"{who.they} goes on for {count(length, time)}.")
        done = story.step(rate, "*", length, thing, f"in {count(length, time)}")
        total = story.step(total, "+", done, thing, "so far") if part else done
    if steps % 2:
        return story.finish("rates", f"How many {thing.many} does {who} {do} in all?")
    goal = total + draw.integer(2, reach)
    story.say(f"{who.their} goal is {count(goal, thing)}.")
    story.step(goal, "-", total, thing, "still to do")
    return story.finish("rates", f"How many more {thing.many} must {who} {do} to reach it?")
