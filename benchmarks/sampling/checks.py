"""How many tokens a constraint is asked about for one token drawn: adaptive rejection, Ponder's and
genlm-control's, beside full masking, which asks about the whole vocabulary.

Logits are the embedded model's own, recorded along texts that fit; both samplers draw at the same
places again and again. The weights' mean over what is exactly allowed there says whether they are
unbiased. The samplers' time is without the model and without the constraint, whose cost comes to it
once a token asked about.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.contenders import Failure, Running
from benchmarks.sampling.constraints import CASES, Case
from benchmarks.sampling.posterior import SECONDS, started
from benchmarks.sampling.table import Given, Table
from ponder.runtime import Branch, BranchPath, Engine, Message, Row, Vocabulary, open_engine
from ponder.strategies.fitting.proposals import Rule, distribution
from ponder.strategies.fitting.steps import uniforms

RULE = Rule(proposal="rejection", temperature=1.0, top_p=1.0, most_checks=None, ahead=1)
COSTS = (1e-5, 1e-4, 1e-3)
"""Seconds of a predicate."""
ACCEPTS = (2, 3)
"""genlm's `max_accepts`: its default, and the least at which it estimates as Ponder does."""
TINY = 1e-5
"""Allowed mass below which genlm's recursive sampler gives up."""
COLUMNS = (
    "allowed mass, median (least)",
    "asked: mean",
    "median",
    "most",
    "us a token",
    "of it, a token asked about",
    *(f"ms, at {cost * 1e6:,.0f} us each" for cost in COSTS),
    "weight over exact (standard error)",
    "deviation of one weight",
    f"no weight, of draws below {TINY:g}",
)


@dataclass(slots=True, kw_only=True)
class Local:
    """A guide that asks in this process, so that nothing but asking is counted; and how long the
    answers took, which is not the sampler's.
    """

    case: Case
    vocabulary: Vocabulary
    spelt: bytes = b""
    seconds: float = 0.0

    def mask(self) -> None:
        return None

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        started = time.perf_counter()
        found = [0.0 if self.may(token) else -math.inf for token in tokens]
        self.seconds += time.perf_counter() - started
        return found

    async def after(self, token: int) -> Local:
        spelling = self.vocabulary.spelling(token) or b""
        return Local(case=self.case, vocabulary=self.vocabulary, spelt=self.spelt + spelling)

    def may(self, token: int) -> bool:
        if token in self.vocabulary.ends:
            return self.case.whole(self.spelt)
        return self.case.fits(self.spelt, self.vocabulary.spelling(token))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in a text: what comes next by the model, and by the constraint."""

    row: Row
    guide: Local
    branch: BranchPath

    def allowed(self) -> float:
        """The mass, exactly."""
        support = distribution(self.row, 1.0, 1.0)
        kept = [self.guide.may(int(token)) for token in support.tokens]
        return float(support.masses[kept].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    checks: int
    seconds: float
    log_weight: float


async def recorded(engine: Engine, name: str, texts: int, tokens: int) -> list[Spot]:
    """Places along texts that fit."""
    found, vocabulary = list[Spot](), engine.vocabulary()
    turns = (Message(role="user", content=CASES[name].prompt),)
    for text in range(texts):
        async with await engine.open(turns, path=BranchPath(text, (name,))) as branch:
            guide = Local(case=CASES[name], vocabulary=vocabulary)
            for _ in range(tokens):
                found.append(Spot(row=await _shown(branch), guide=guide, branch=branch.path))
                token = await _grown(branch, guide)
                if token is None or token in vocabulary.ends:
                    break
                guide = await guide.after(token)
    return found


async def _shown(branch: Branch) -> Row:
    return np.array(await branch.logits(), dtype=np.float32)


async def _grown(branch: Branch, guide: Local) -> int | None:
    made: list[int | None] = []

    async def choose(row: Row) -> int | None:
        found = await RULE.draw(row, [guide], guide.vocabulary, uniforms(branch), last=False)
        made.append(found.token)
        return found.token

    await branch.draw(choose)
    return made[0] if made else None


async def ours(spots: Sequence[Spot], draws: int) -> list[list[Drawn]]:
    return [
        [await _drawn(spot, place, i) for i in range(draws)] for place, spot in enumerate(spots)
    ]


async def _drawn(spot: Spot, place: int, turn: int) -> Drawn:
    uniform = BranchPath(turn, ("again", place)).draws()
    spot.guide.seconds, started = 0.0, time.perf_counter()
    found = await RULE.draw(spot.row, [spot.guide], spot.guide.vocabulary, uniform, last=False)
    seconds = time.perf_counter() - started - spot.guide.seconds
    return Drawn(checks=found.checks, seconds=seconds, log_weight=found.log_weight)


def theirs(
    rival: Running, name: str, spots: Sequence[Spot], draws: int, accepts: int
) -> list[list[Drawn]]:
    vocabulary = spots[0].guide.vocabulary
    words = [vocabulary.spelling(token) for token in range(vocabulary.size)]
    with tempfile.TemporaryDirectory() as folder:
        logits, spelt = Path(folder) / "logits.npy", Path(folder) / "words.json"
        np.save(logits, np.array([spot.row for spot in spots]))
        spelt.write_text(json.dumps([word.hex() if word else None for word in words]))
        asked = {
            "task": "draws",
            "case": name,
            "logits": str(logits),
            "words": str(spelt),
            "ends": sorted(vocabulary.ends),
            "before": [spot.guide.spelt.hex() for spot in spots],
            "draws": draws,
            "accepts": accepts,
            "seed": 1,
        }
        said = rival.ask(json.dumps(asked), SECONDS)
    flat = [
        Drawn(checks=checks, seconds=seconds, log_weight=weight)
        for checks, seconds, weight in said["draws"]  # type: ignore[attr-defined]  # JSON
    ]
    return [flat[i : i + draws] for i in range(0, len(flat), draws)]


def tables(given: Given) -> Iterator[Table]:
    texts, tokens, draws = (1, 4, 2) if given.quick else (3, 8, 10)
    engine, notes = open_engine("embedded", weights="bfloat16"), list[str]()
    rows: list[tuple[str, list[object]]] = []
    with asyncio.Runner() as loop, ExitStack() as held:
        held.callback(lambda: loop.run(engine.close()))
        rival = started(notes)
        if rival is not None:
            held.callback(rival.close)
        for name in CASES:
            spots = loop.run(recorded(engine, name, texts, tokens))
            allowed = [spot.allowed() for spot in spots]
            rows.append((f"{name}, Ponder", _row(loop.run(ours(spots, draws)), allowed)))
            if rival is not None:
                rows += _theirs(rival, name, spots, draws, allowed)
        size = engine.vocabulary().size
    yield Table(
        title=f"Tokens asked about for one drawn, of {size:,}",
        columns=COLUMNS,
        rows=rows,
        notes=[
            f"up to {texts} texts of {tokens} tokens a row, {draws} draws at each place; a mask of "
            f"the vocabulary takes {', '.join(f'{1e3 * size * cost:,.0f}' for cost in COSTS)} ms",
            *notes,
        ],
    )


def _theirs(
    rival: Running, name: str, spots: Sequence[Spot], draws: int, allowed: Sequence[float]
) -> Iterator[tuple[str, list[object]]]:
    for accepts in ACCEPTS:
        row = f"{name}, genlm, {accepts} accepts"
        try:
            yield row, _row(theirs(rival, name, spots, draws, accepts), allowed)
        except Failure as failure:
            yield row, [str(failure), *[None] * (len(COLUMNS) - 1)]


def _row(found: Sequence[Sequence[Drawn]], allowed: Sequence[float]) -> list[object]:
    every = [drawn for some in found for drawn in some]
    checks = [drawn.checks for drawn in every]
    average, seconds = statistics.mean(checks), statistics.mean(drawn.seconds for drawn in every)
    tiny = [
        drawn.log_weight < -1e8
        for some, mass in zip(found, allowed, strict=True)
        for drawn in some
        if 0 < mass < TINY
    ]
    return [
        f"{statistics.median(allowed):.2g} ({min(allowed):.1g})",
        average,
        statistics.median(checks),
        max(checks),
        1e6 * statistics.median(drawn.seconds for drawn in every),
        _slope(every),
        *(1e3 * (seconds + average * cost) for cost in COSTS),
        *_unbiased(found, allowed),
        f"{sum(tiny)} of {len(tiny)}",
    ]


def _slope(found: Sequence[Drawn]) -> float:
    """Microseconds that one more token asked about takes: least squares."""
    checks = np.array([drawn.checks for drawn in found], float)
    if checks.std() == 0:
        return math.nan
    return float(1e6 * np.polyfit(checks, [drawn.seconds for drawn in found], 1)[0])


def _unbiased(found: Sequence[Sequence[Drawn]], allowed: Sequence[float]) -> tuple[str, float]:
    ratios = [
        math.exp(drawn.log_weight) / mass
        for some, mass in zip(found, allowed, strict=True)
        if mass > 0
        for drawn in some
    ]
    spread = statistics.stdev(ratios)
    return f"{statistics.mean(ratios):.2f} ({spread / math.sqrt(len(ratios)):.2f})", spread
