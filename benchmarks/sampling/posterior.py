"""Whether samplers reach the distribution they are after, on a toy whose exact one is known: texts
that fit an automaton, drawn by Ponder and by genlm-control with the same model and constraint.

"all runs" weighs each run by its evidence, which is unbiased; "one run" is how far a single
population's shares are off on average. Questions and time are a token drawn, without a model.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean, stdev

import numpy as np

from benchmarks.contenders import RIVALS, Contender, Failure, Running
from benchmarks.sampling import toy
from benchmarks.sampling.table import Given, Table
from ponder.runtime import BranchPath, Vocabulary
from ponder.strategies.fitting.proposals import Rule
from ponder.strategies.particles.cloud import Cloud

END = len(toy.LETTERS)
GENLM = Contender(
    name="genlm",
    python=RIVALS / "genlm" / "bin" / "python",
    arguments=("benchmarks.rivals.genlm",),
)
VOCABULARY = Vocabulary([letter.encode() for letter in toy.LETTERS], frozenset([END]), END + 1)
THRESHOLD, SECONDS = 0.5, 170.0
PARTICLES = (5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A row."""

    name: str
    sampler: str
    """Of genlm's: awrs, direct or local; of ours: a proposal."""
    resampling: str
    masks: bool = False
    """The constraint tells all tokens at once, and is asked about each of them for that."""


OURS = (
    Setting(name="Ponder, rejection", sampler="rejection", resampling="systematic"),
    Setting(name="Ponder, rejection, multinomial", sampler="rejection", resampling="multinomial"),
    Setting(name="Ponder, exact masks", sampler="adaptive", resampling="systematic", masks=True),
    Setting(name="Ponder, policy", sampler="policy", resampling="systematic"),
    Setting(name="Ponder, local (biased)", sampler="local", resampling="systematic"),
)
THEIRS = (
    Setting(name="genlm, AWRS", sampler="awrs", resampling="multinomial"),
    Setting(name="genlm, AWRS, systematic", sampler="awrs", resampling="systematic"),
    Setting(name="genlm, exact masks", sampler="direct", resampling="multinomial"),
    Setting(name="genlm, local (biased)", sampler="local", resampling="multinomial"),
)

Run = tuple[float, Mapping[str, float]]
"""An estimate of the evidence, and texts with their shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    runs: Sequence[Run]
    tokens: int
    asked: int
    seconds: float
    """Of CPU."""


@dataclass(slots=True, kw_only=True, eq=False)
class Fits:
    """The toy's constraint, in this process, which counts how often it is asked."""

    masks: bool
    asked: int = 0

    def allows(self, text: str, token: int) -> bool:
        self.asked += 1
        return toy.whole(text) if token == END else toy.goes_on(text + toy.LETTERS[token])


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A `Guide`."""

    fits: Fits
    text: str = ""

    def mask(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        if not self.fits.masks:
            return None
        return np.array([self.fits.allows(self.text, token) for token in range(END + 1)])

    async def weigh(self, tokens: Sequence[int]) -> list[float]:
        return [0.0 if self.fits.allows(self.text, token) else -math.inf for token in tokens]

    async def after(self, token: int) -> Standing:
        return Standing(fits=self.fits, text=self.text + toy.LETTERS[token])


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    guide: Standing
    over: bool = False


@dataclass(slots=True, kw_only=True)
class Population:
    """One run of sequential Monte Carlo, of the framework's parts, without an engine."""

    rule: Rule
    setting: Setting
    path: BranchPath
    cloud: Cloud[Particle]
    tokens: int = 0

    async def run(self) -> Run:
        level = 0
        while any(self._live()):
            await self._step(level)
            level += 1
            if self.cloud.effective < THRESHOLD * len(self.cloud.particles):
                uniform = self.path.child("resample", level).uniform
                self.cloud = self.cloud.resampled(self.setting.resampling, uniform)
        shares: dict[str, float] = {}
        for particle, share in zip(self.cloud.particles, self.cloud.shares, strict=True):
            if share:
                text = particle.guide.text
                shares[text] = shares.get(text, 0.0) + share
        return math.exp(self.cloud.log_evidence), shares

    def _live(self) -> Iterator[bool]:
        pairs = zip(self.cloud.particles, self.cloud.log_weights, strict=True)
        return (not particle.over and log > -math.inf for particle, log in pairs)

    async def _step(self, level: int) -> None:
        grown, weights = list[Particle](), list[float]()
        for slot, (particle, live) in enumerate(
            zip(self.cloud.particles, list(self._live()), strict=True)
        ):
            weight = 0.0
            if live:
                uniform = self.path.child(level, slot).uniform
                particle, weight = await self._grown(particle, uniform)
            grown.append(particle)
            weights.append(weight)
        self.cloud = self.cloud.moved(grown).weighed(weights)

    async def _grown(
        self, particle: Particle, uniform: Callable[[int], float]
    ) -> tuple[Particle, float]:
        guide, self.tokens = particle.guide, self.tokens + 1
        with np.errstate(divide="ignore"):
            row = np.log(np.array(toy.chances(guide.text))).astype(np.float32)
        found = await self.rule.draw(row, [guide], VOCABULARY, uniform, last=False)
        if found.token is None or found.token == END:
            return Particle(guide=guide, over=True), found.log_weight
        return Particle(guide=await guide.after(found.token)), found.log_weight


async def ours(setting: Setting, particles: int, runs: int) -> Found:
    rule = Rule(proposal=setting.sampler, temperature=1.0, top_p=1.0, most_checks=None, ahead=1)
    fits, found, tokens = Fits(masks=setting.masks), list[Run](), 0
    started = time.process_time()
    for seed in range(runs):
        population = Population(
            rule=rule,
            setting=setting,
            path=BranchPath(seed),
            cloud=Cloud[Particle].of([Particle(guide=Standing(fits=fits))] * particles),
        )
        found.append(await population.run())
        tokens += population.tokens
    seconds = time.process_time() - started
    return Found(runs=found, tokens=tokens, asked=fits.asked, seconds=seconds)


def theirs(rival: Running, setting: Setting, particles: int, runs: int) -> Found:
    asked = {
        "task": "runs",
        "sampler": setting.sampler,
        "resampling": setting.resampling,
        "particles": particles,
        "threshold": THRESHOLD,
        "runs": runs,
        "seed": 1,
    }
    said = rival.ask(json.dumps(asked), SECONDS)
    return Found(**said)  # type: ignore[arg-type]  # JSON


def apart(shares: Mapping[str, float]) -> float:
    """Total variation to the exact posterior; shares are normalised first."""
    target, total = toy.target(), math.fsum(shares.values())
    evidence = math.fsum(target.values())
    if not total:
        return 1.0
    names = target.keys() | shares.keys()
    return 0.5 * math.fsum(
        abs(target.get(name, 0.0) / evidence - shares.get(name, 0.0) / total) for name in names
    )


def pooled(runs: Sequence[Run]) -> dict[str, float]:
    """Shares of all runs, each as heavy as its evidence."""
    found: dict[str, float] = {}
    for evidence, shares in runs:
        for text, share in shares.items():
            found[text] = found.get(text, 0.0) + evidence * share
    return found


def evidence(runs: Sequence[Run]) -> tuple[float, float, float]:
    """Over the exact one: the mean, its standard error, and the deviation of one run."""
    exact = math.fsum(toy.target().values())
    found = [estimate / exact for estimate, _ in runs]
    spread = stdev(found)
    return mean(found), spread / math.sqrt(len(found)), spread


def exact_draws(particles: int, runs: int) -> list[Run]:
    """What nothing can be better than: independent draws of the exact posterior."""
    dice, target = Random(0), toy.target()
    texts, chances = list(target), list(target.values())
    drawn = (Counter(dice.choices(texts, chances, k=particles)) for _ in range(runs))
    return [(1.0, {text: n / particles for text, n in some.items()}) for some in drawn]


def tables(given: Given) -> Iterator[Table]:
    runs, notes = 40 if given.quick else 2000, list[str]()
    rival = started(notes)
    try:
        for particles in PARTICLES[:1] if given.quick else PARTICLES:
            yield _table(rival, particles, runs, notes)
    finally:
        if rival is not None:
            rival.close()


def started(notes: list[str]) -> Running | None:
    try:
        return Running(GENLM)
    except Failure as failure:
        notes.append(f"genlm: {failure} (`make .rivals/genlm/ready`)")
        return None


def _table(rival: Running | None, particles: int, runs: int, notes: Sequence[str]) -> Table:
    rows: list[tuple[str, list[object]]] = []
    for setting in OURS:
        rows.append((setting.name, _row(asyncio.run(ours(setting, particles, runs)))))
    if rival is not None:
        for setting in THEIRS:
            rows.append((setting.name, _row(theirs(rival, setting, particles, runs))))
    floor = exact_draws(particles, runs)
    singles = mean(apart(shares) for _, shares in floor)
    rows.append(("exact draws", [apart(pooled(floor)), singles, *[None] * 4]))
    return Table(
        title=f"The toy's posterior, {particles} particles, resampled below half: {runs} runs",
        columns=[
            "total variation, all runs",
            "one run",
            "evidence over exact (standard error)",
            "deviation of one run",
            "questions a token",
            "CPU us a token",
        ],
        rows=rows,
        notes=notes,
    )


def _row(found: Found) -> list[object]:
    middle, error, spread = evidence(found.runs)
    return [
        apart(pooled(found.runs)),
        mean(apart(shares) for _, shares in found.runs),
        f"{middle:.4f} ({error:.4f})",
        spread,
        found.asked / found.tokens,
        1e6 * found.seconds / found.tokens,
    ]
