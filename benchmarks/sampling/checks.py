"""How many tokens a constraint is asked about for one token drawn: adaptive rejection beside full
masking, which asks about the whole vocabulary.

Logits are the embedded model's own, along the texts that the sampler draws. The time of the sampler
is without the model; a predicate's own cost comes to it once a token asked about.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.sampling.table import Given, Table
from ponder.runtime import Branch, BranchPath, Engine, Message, Row, Vocabulary, open_engine
from ponder.strategies.fitting.proposals import Rule
from ponder.strategies.fitting.steps import uniforms
from ponder.verifiers import Guide, regex
from ponder.verifiers.potentials.grammars import Grammatical

RULE = Rule(proposal="rejection", temperature=1.0, top_p=1.0, most_checks=None)
COSTS = (1e-5, 1e-4, 1e-3)
"""Seconds of a predicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    prompt: str
    may_go_on: Callable[[str], bool]


def balanced(text: str) -> bool:
    """Brackets as in SMILES: none closes that was not opened, no letters but these."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0 or letter not in "CNOcno()=#123":
            return False
    return True


CASES = (
    Case(
        name="no letter e",
        prompt="Write a short story about a dog and a man.",
        may_go_on=lambda text: "e" not in text.lower(),
    ),
    Case(
        name="digits only",
        prompt="Write the digits of pi, as many as you know.",
        may_go_on=lambda text: re.fullmatch(r"[0-9]*\.?[0-9]*", text) is not None,
    ),
    Case(name="brackets", prompt="Write a molecule in SMILES.", may_go_on=balanced),
    Case(
        name="short words",
        prompt="Write about the sea in plain words.",
        may_go_on=lambda text: all(len(word) <= 5 for word in re.split(r"[^A-Za-z]+", text)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A predicate asked in this process, so that nothing but asking is counted."""

    case: Case
    vocabulary: Vocabulary
    spelt: bytes = b""

    def mask(self) -> None:
        return None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        return [0.0 if self._may(token) else float("-inf") for token in tokens]

    async def after(self, token: int) -> Local:
        spelling = self.vocabulary.spelling(token) or b""
        return Local(case=self.case, vocabulary=self.vocabulary, spelt=self.spelt + spelling)

    def _may(self, token: int) -> bool:
        spelling = self.vocabulary.spelling(token)
        if token in self.vocabulary.ends:
            return True
        text = (self.spelt + (spelling or b"")).decode(errors="ignore")
        return spelling is not None and self.case.may_go_on(text)


@dataclass(slots=True, kw_only=True)
class Count:
    checks: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])


def tables(given: Given) -> Iterator[Table]:
    texts, tokens = (1, 6) if given.quick else (12, 40)
    engine = open_engine("embedded", weights="bfloat16")
    try:
        yield asyncio.run(_table(engine, texts, tokens))
    finally:
        asyncio.run(engine.close())


async def _table(engine: Engine, texts: int, tokens: int) -> Table:
    vocabulary = engine.vocabulary()
    rows: list[tuple[str, list[object]]] = []
    for case in CASES:
        guide = Local(case=case, vocabulary=vocabulary)
        rows.append((case.name, _row(await _counted(engine, case, guide, texts, tokens))))
    held = Case(name="digits, a grammar", prompt=CASES[1].prompt, may_go_on=lambda text: True)
    grammar = Grammatical(grammar=regex(r"[0-9]*\.?[0-9]*")).begin(vocabulary)
    rows.append((held.name, _row(await _counted(engine, held, grammar, texts, tokens))))
    return Table(
        title=f"Tokens asked about for one drawn, of {vocabulary.size:,}",
        columns=[
            "mean",
            "median",
            "most",
            "masking asks, times",
            "sampler us a token",
            *(f"at {cost * 1e6:,.0f} us each: ms, masking ms" for cost in COSTS),
        ],
        rows=rows,
        notes=[
            f"{texts} texts of up to {tokens} tokens each; masking's times are {vocabulary.size:,} "
            "times a predicate's cost"
        ],
    )


@dataclass(slots=True, kw_only=True)
class _Drawing:
    branch: Branch
    guide: Guide
    vocabulary: Vocabulary
    found: Count
    token: int | None = None
    drawn: int = 0

    async def choose(self, row: Row) -> int | None:
        started = time.perf_counter()
        proposal = await RULE.draw(
            row, [self.guide], self.vocabulary, uniforms(self.branch), last=False
        )
        self.found.seconds.append(time.perf_counter() - started)
        self.found.checks.append(proposal.checks)
        self.token = proposal.token
        return proposal.token

    async def on(self) -> None:
        self.drawn += 1
        if self.token is not None:
            self.guide = await self.guide.after(self.token)


async def _counted(engine: Engine, case: Case, guide: Guide, texts: int, tokens: int) -> Count:
    found, vocabulary = Count(), engine.vocabulary()
    turns = (Message(role="user", content=case.prompt),)

    for text in range(texts):
        async with await engine.open(turns, path=BranchPath(text, (case.name,))) as branch:
            drawing = _Drawing(branch=branch, guide=guide, vocabulary=vocabulary, found=found)
            while drawing.drawn < tokens:
                if not (await branch.draw(drawing.choose)).text:
                    break
                await drawing.on()
    return found


def _row(found: Count) -> list[object]:
    mean = statistics.mean(found.checks)
    return [
        mean,
        statistics.median(found.checks),
        max(found.checks),
        SIZE / mean,
        1e6 * statistics.median(found.seconds),
        *(f"{1e3 * cost * mean:,.2f}, {1e3 * cost * SIZE:,.0f}" for cost in COSTS),
    ]


SIZE = 49_152
"""The embedded model's vocabulary."""
