"""Families about money, in whole dollars: shopping, discounts, saving."""

from __future__ import annotations

from ponder.evals.wordproblems.draw import Draw
from ponder.evals.wordproblems.events import Event, Setting, gain, happen, loss
from ponder.evals.wordproblems.lexicon import DOLLAR, GOODS, PEOPLE, Person, count, noun
from ponder.evals.wordproblems.story import Problem, Story


def shopping(draw: Draw, steps: int, reach: int) -> Problem:
    """Several things at a price each; with an even number of steps the change is asked for."""
    story = Story()
    who = draw.choice(PEOPLE)
    parts = (steps + 1) // 2
    total = 0
    for part, thing in enumerate(draw.some(GOODS, parts)):
        number, price = draw.integer(2, min(9, reach)), draw.integer(2, reach)
        also = f"{who} buys" if part == 0 else f"{who.they} also buys"
        story.say(f"{also} {count(number, thing)} for ${price} each.")
        cost = story.step(number, "*", price, DOLLAR, f"for the {thing.many}")
        total = story.step(total, "+", cost, DOLLAR, "so far") if part else cost
    if steps % 2:
        return story.finish("shopping", f"How many dollars does {who} pay?")
    paid = next(bill for bill in (20, 50, 100, 200, 500, 1000, 5000, 20000) if bill > total)
    story.say(f"{who.they} pays with ${paid}.")
    story.step(paid, "-", total, DOLLAR, "of change")
    return story.finish("shopping", f"How many dollars of change does {who} get?")


def discount(draw: Draw, steps: int, reach: int) -> Problem:
    """A percentage off, then more things at the till."""
    story = Story()
    who = draw.choice(PEOPLE)
    thing, second = draw.some(GOODS, 2)
    percent = draw.choice([10, 20, 25, 50] if steps < 4 else [10, 15, 20, 25, 30, 40, 50])
    price = draw.integer(1, max(2, reach // 3)) * (4 if percent == 50 else 20)
    kind = draw.choice(["rare", "fine", "special", "new"])
    story.say(f"A {kind} {thing.one} costs ${price}.")
    story.say(f"Today {who} gets {percent}% off.")
    saved = story.step(price, "percent", percent, DOLLAR, "off")
    if steps == 1:
        return story.finish("discount", f"How many dollars does {who} save?")
    total = story.step(price, "-", saved, DOLLAR, f"for one {thing.one}")
    left = steps - 2
    if left:
        number = draw.integer(2, 6)
        story.say(f"{who} buys {number} of these {thing.many}.")
        total = story.step(total, "*", number, DOLLAR, f"for the {thing.many}")
        left -= 1
    events = [
        gain(f"{{who}} also takes one {second.one} for ${{n}}"),
        gain("{who} pays ${n} for delivery"),
        gain("{who} gives ${n} to the driver"),
        loss("{who} uses a voucher worth ${n}"),
    ]
    happen(
        story, draw, total, events, left, Setting(who=who, noun=DOLLAR, tail="so far", reach=reach)
    )
    return story.finish("discount", f"How many dollars does {who} pay in all?")


JOBS = [
    ("walks dogs", noun("dog"), "for each dog"),
    ("washes cars", noun("car"), "for each car"),
    ("mows lawns", noun("lawn"), "for each lawn"),
    ("cleans windows", noun("window"), "for each window"),
    ("repairs bikes", noun("bike"), "for each bike"),
    ("bakes cakes", noun("cake"), "for each cake"),
]


def saving(draw: Draw, steps: int, reach: int) -> Problem:
    """Wages from small jobs, and what becomes of them."""
    story = Story()
    who, friend = draw.some(PEOPLE, 2)
    parts = (steps + 1) // 2 if steps != 2 or draw.chance() else 1
    total = 0
    for part, (does, item, each) in enumerate(draw.some(JOBS, parts)):
        number, pay = draw.integer(2, min(9, reach)), draw.integer(2, reach)
        whom = f"{who} {does}" if part == 0 else f"{who.they} also {does}"
        story.say(f"{whom} and gets ${pay} {each}.")
        story.say(f"This week there are {count(number, item)}.")
        wages = story.step(number, "*", pay, DOLLAR, f"for the {item.many}")
        total = story.step(total, "+", wages, DOLLAR, "so far") if part else wages
    rest = steps - (2 * parts - 1)
    setting = Setting(who=who, noun=DOLLAR, tail="now", reach=reach)
    happen(story, draw, total, _fortunes(who, friend), rest, setting)
    question = "have in the end" if rest else "earn"
    return story.finish("saving", f"How many dollars does {who} {question}?")


def _fortunes(who: Person, friend: Person) -> list[Event]:
    return [
        gain(f"{friend} gives {who.them} ${{n}}"),
        gain("{who} finds ${n} in a coat"),
        loss("{who} spends ${n} of this money on lunch"),
        loss(f"{{who}} lends ${{n}} of this money to {friend}"),
    ]
