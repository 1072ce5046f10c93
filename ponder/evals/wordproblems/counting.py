"""Families about countable things: keeping, comparing, picking over days, fractions of a group, and
sharing out.

A family is a function (draw, steps, reach) -> Problem with exactly that many steps; `reach` is
about the largest number that appears fresh.
"""

from __future__ import annotations

from itertools import pairwise

from ponder.evals.wordproblems.draw import Draw
from ponder.evals.wordproblems.events import Setting, gain, happen, loss
from ponder.evals.wordproblems.lexicon import BERRIES, PEOPLE, THINGS, Noun, Person, count, noun
from ponder.evals.wordproblems.story import Problem, Story


def keeping(draw: Draw, steps: int, reach: int) -> Problem:
    """Somebody's things come and go."""
    story = Story()
    who, friend, other = draw.some(PEOPLE, 3)
    thing = draw.choice(THINGS)
    value = draw.integer(3, reach)
    story.say(f"{who} has {count(value, thing)}.")
    events = [
        gain("{who} buys {more}"),
        gain("{who} finds {more}"),
        gain(f"{friend} gives {who.them} {{more}}"),
        gain("{who} gets {more} as a present"),
        loss(f"{{who}} gives {{amount}} to {other}"),
        loss("{who} loses {amount}"),
        loss("{who} sells {amount} at a market"),
        loss("{who} leaves {amount} at school"),
    ]
    happen(story, draw, value, events, steps, Setting(who=who, noun=thing, tail="now", reach=reach))
    return story.finish("keeping", f"How many {thing.many} does {who} have now?")


def comparing(draw: Draw, steps: int, reach: int) -> Problem:
    """Each has more, fewer, or some times as many as the one before."""
    story = Story()
    thing = draw.choice(THINGS)
    all_together = steps % 2 == 0 and draw.chance()
    last_two = not all_together and steps > 1 and draw.chance()
    links = steps // 2 if all_together else steps - last_two
    people = draw.some(PEOPLE, links + 1)
    values = [draw.integer(3, reach)]
    story.say(f"{people[0]} has {count(values[0], thing)}.")
    for before, who in pairwise(people):
        values.append(_compare(story, draw, values[-1], (before, who), thing, reach))
    if all_together:
        total = values[0]
        for value in values[1:]:
            total = story.step(total, "+", value, thing, "together")
        return story.finish("comparing", f"How many {thing.many} do they have altogether?")
    if last_two:
        story.step(values[-2], "+", values[-1], thing, "together")
        pair = f"{people[-2]} and {people[-1]}"
        return story.finish("comparing", f"How many {thing.many} do {pair} have together?")
    return story.finish("comparing", f"How many {thing.many} does {people[-1]} have?")


def _compare(
    story: Story, draw: Draw, value: int, pair: tuple[Person, Person], thing: Noun, reach: int
) -> int:
    before, who = pair
    tail = f"of {who}"
    kind = draw.choice(["more", "fewer", "times"] if value < 4 * reach else ["fewer", "half"])
    if kind == "half" and value % 2 == 0:
        story.say(f"{who} has half as many {thing.many} as {before}.")
        return story.step(value, "/", 2, thing, tail)
    if kind == "times":
        factor = draw.integer(2, 4)
        words = "twice" if factor == 2 else f"{factor} times"
        story.say(f"{who} has {words} as many {thing.many} as {before}.")
        return story.step(value, "*", factor, thing, tail)
    if kind == "more" or value < 3:
        amount = draw.integer(2, reach)
        story.say(f"{who} has {amount} more {thing.many} than {before}.")
        return story.step(value, "+", amount, thing, tail)
    amount = draw.integer(1, min(value - 1, reach))
    story.say(f"{who} has {amount} fewer {thing.of(amount)} than {before}.")
    return story.step(value, "-", amount, thing, tail)


def picking(draw: Draw, steps: int, reach: int) -> Problem:
    """So many a day for so many days, then another rate."""
    story = Story()
    who, friend = draw.some(PEOPLE, 2)
    fruit = draw.choice(BERRIES)
    parts = (steps + 1) // 2
    total = 0
    when = ["", "After that, ", "In the end, "]
    for part in range(parts):
        rate, days = draw.integer(2, reach), draw.integer(2, min(9, reach))
        whom = who.name if part == 0 else who.they
        story.say(f"{when[part]}{whom} picks {count(rate, fruit)} a day for {days} days.")
        picked = story.step(rate, "*", days, fruit, f"in {days} days")
        total = story.step(total, "+", picked, fruit, "so far") if part else picked
    events = [
        gain(f"{friend} gives {who.them} {{more}}"),
        gain("{who} buys {more}"),
        loss("{who} throws away {amount} that went bad"),
        loss(f"{{who}} gives {{amount}} to {friend}"),
    ]
    rest = steps - (2 * parts - 1)
    happen(story, draw, total, events, rest, Setting(who=who, noun=fruit, tail="left", reach=reach))
    question = "have in the end" if rest else "pick in all"
    return story.finish("picking", f"How many {fruit.many} does {who} {question}?")


FRACTIONS = {2: "half", 3: "one third", 4: "one quarter", 5: "one fifth"}
REST = ("them", "the others", "those who are left")

GROUPS = [
    (noun("student"), "at a school fair", ["sing", "dance", "act"]),
    (noun("guest"), "in a hotel", ["swim", "hike", "play tennis"]),
    (noun("child", "children"), "at a camp", ["paint", "climb", "sail"]),
    (noun("visitor"), "in a park", ["run", "ride a bike", "feed the ducks"]),
    (noun("worker"), "in a town hall", ["walk to work", "drive to work", "take the bus"]),
    (noun("neighbor"), "at a street party", ["cook", "clean", "make music"]),
]


def fractions(draw: Draw, steps: int, reach: int) -> Problem:
    """A fraction of a group does one thing, a fraction of the others another."""
    story = Story()
    people, where, doings = draw.choice(GROUPS)
    doings = draw.some(doings, 3)
    rounds = (steps + 1) // 2
    parts = [draw.integer(2, 5 if rounds < 3 else 3) for _ in range(rounds)]
    # The product of all the denominators keeps each fraction of each rest whole.
    value = draw.integer(2, max(2, reach // 2))
    for part in parts:
        value *= part
    story.say(f"There are {count(value, people)} {where}.")
    for i, part in enumerate(parts):
        story.say(f"{FRACTIONS[part]} of {REST[i]} {doings[i]}.")
        share = story.step(value, "/", part, people, f"who {doings[i]}")
        if i == rounds - 1 and steps % 2:
            return story.finish("fractions", f"How many {people.many} {doings[i]}?")
        value = story.step(value, "-", share, people, "left")
    nothing = "none of these" if rounds > 1 else f"not {doings[0]}"
    return story.finish("fractions", f"How many {people.many} do {nothing}?")


def sharing(draw: Draw, steps: int, reach: int) -> Problem:
    """Things are shared out equally, or packed until some are left over."""
    story = Story()
    who, friend = draw.some(PEOPLE, 2)
    thing = draw.choice(THINGS)
    if steps == 1:
        return _share_evenly(story, draw, who, thing, reach)
    boxes, each = draw.integer(3, reach), draw.integer(4, reach)
    story.say(f"{who} has {boxes} boxes with {count(each, thing)} in each box.")
    total = story.step(boxes, "*", each, thing, "in all")
    events = [
        gain("{who} buys {more}"),
        gain(f"{friend} brings {who.them} {{more}}"),
        gain("{who} finds {more} at home"),
        loss("{who} puts {amount} aside"),
        loss(f"{{who}} gives {{amount}} to {friend}"),
    ]
    setting = Setting(who=who, noun=thing, tail="now", reach=min(reach, total // 4 + 1))
    total = happen(story, draw, total, events, steps - 2, setting)
    sizes = [k for k in range(2, 13) if k < total and total % k]
    size = draw.choice(sizes or [total - 1])
    story.say(f"{who} packs the {thing.many} into bags of {size}, as many full bags as possible.")
    if total % size and draw.chance():
        story.step(total, "remainder", size, thing, "left over")
        return story.finish("sharing", f"How many {thing.many} are left over?")
    story.step(total, "quotient", size, noun("full bag"))
    return story.finish("sharing", "How many full bags are there?")


def _share_evenly(story: Story, draw: Draw, who: Person, thing: Noun, reach: int) -> Problem:
    friends, each = draw.integer(2, min(8, reach)), draw.integer(2, reach)
    total = friends * each
    story.say(f"{who} shares {count(total, thing)} equally among {friends} friends.")
    story.step(total, "/", friends, thing, "for each friend")
    return story.finish("sharing", f"How many {thing.many} does each friend get?")
