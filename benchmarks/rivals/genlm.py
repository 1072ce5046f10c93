"""genlm-control as a contender: sequential Monte Carlo on the toy of `benchmarks/sampling/toy.py`,
and its rejection sampler on recorded logits.

Each line of standard input is a JSON object with "task", "runs" or "draws", and what follows from
it; each is answered by one line. It runs in the rival's environment.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from genlm.control import AWRS, SMC, Potential, direct_token_sampler

from benchmarks.sampling import toy
from benchmarks.sampling.constraints import CASES, Case

# Any: the rival's package is untyped.
Asked = dict[str, Any]


class Table(Potential):  # type: ignore[misc]
    """The toy's language model."""

    def __init__(self) -> None:
        super().__init__(list(toy.LETTERS))

    async def prefix(self, context: list[str]) -> float:
        return sum(
            _log(toy.chances("".join(context[:i]))[toy.LETTERS.index(letter)])
            for i, letter in enumerate(context)
        )

    async def complete(self, context: list[str]) -> float:
        return await self.prefix(context) + _log(toy.chances("".join(context))[-1])

    async def logw_next(self, context: list[str]) -> Any:
        return self.make_lazy_weights(np.array([*map(_log, toy.chances("".join(context)))]))


class Recorded(Potential):  # type: ignore[misc]
    """A model that is at one of several places; its tokens are ids."""

    row: Any

    async def prefix(self, context: list[int]) -> float:
        return 0.0

    async def complete(self, context: list[int]) -> float:
        return 0.0

    async def logw_next(self, context: list[int]) -> Any:
        return self.make_lazy_weights(self.row)


class Fits(Potential):  # type: ignore[misc]
    """A constraint whose questions are counted."""

    goes_on: Callable[[Any], bool]
    whole: Callable[[Any], bool]
    asked, seconds = 0, 0.0
    """How often, and what the answers took."""

    async def prefix(self, context: list[Any]) -> float:
        return self._said(self.goes_on, context)

    async def complete(self, context: list[Any]) -> float:
        return self._said(self.whole, context)

    def _said(self, function: Callable[[Any], bool], context: list[Any]) -> float:
        self.asked, started = self.asked + 1, time.perf_counter()
        weight = 0.0 if function(context) else -math.inf
        self.seconds += time.perf_counter() - started
        return weight


def _log(chance: float) -> float:
    return math.log(chance) if chance else -math.inf


async def runs(asked: Asked) -> Asked:
    """Evidence and shares of many populations."""
    np.random.seed(asked["seed"])
    torch.manual_seed(asked["seed"])
    model, fits = Table(), Fits(list(toy.LETTERS))
    fits.goes_on = lambda context: toy.goes_on("".join(context))
    fits.whole = lambda context: toy.whole("".join(context))
    sampler = {
        "awrs": lambda: AWRS(model, fits),
        "direct": lambda: direct_token_sampler(model * fits),
        "local": lambda: AWRS(model, fits, proper_weights=False),
    }[asked["sampler"]]()
    found, tokens, started = [], 0, time.process_time()
    for _ in range(asked["runs"]):
        said = await SMC(sampler)(
            n_particles=asked["particles"],
            ess_threshold=asked["threshold"],
            max_tokens=toy.LONGEST + 2,
            resampling_method=asked["resampling"],
        )
        shares: dict[str, float] = {}
        for context, share in zip(said.contexts, said.normalized_weights, strict=True):
            tokens += len(context)
            text = "".join(context[:-1])
            shares[text] = shares.get(text, 0.0) + float(share)
        found.append([math.exp(said.log_ml), {t: s for t, s in shares.items() if s}])
    seconds = time.process_time() - started
    return {"runs": found, "tokens": tokens, "asked": fits.asked, "seconds": seconds}


def _fits(case: Case, text: bytes, spelt: list[bytes | None], context: list[int]) -> bool:
    return case.fits(text, spelt[context[-1]])


def _whole(case: Case, text: bytes, context: list[int]) -> bool:
    return case.whole(text)


async def draws(asked: Asked) -> Asked:
    """Checks, seconds and log-weights of tokens drawn at recorded places."""
    torch.manual_seed(asked["seed"])
    kept = np.load(asked["logits"])
    case, words = CASES[asked["case"]], json.loads(Path(asked["words"]).read_text())
    ids = list(range(len(words)))  # the end is genlm's own, behind them
    model, fits = Recorded(ids), Fits(ids)
    spelt = [None if word is None else bytes.fromhex(word) for word in words]
    sampler, found = AWRS(model, fits, max_accepts=asked["accepts"]), []
    for place, before in enumerate(asked["before"]):
        text = bytes.fromhex(before)
        fits.goes_on = partial(_fits, case, text, spelt)
        fits.whole = partial(_whole, case, text)
        row = kept[place].astype(np.float64)
        top = row.max()
        row -= top + math.log(np.exp(row - top).sum())
        end = float(np.exp(row[asked["ends"]]).sum())
        row[asked["ends"]] = -np.inf
        model.row = np.append(row, math.log(end))
        for _ in range(asked["draws"]):
            fits.asked, fits.seconds, started = 0, 0.0, time.perf_counter()
            _, weight, _ = await sampler.sample([])
            seconds = time.perf_counter() - started - fits.seconds
            found.append([fits.asked, seconds, max(float(weight), -1e9)])
    return {"draws": found}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    versions = {name: version(name) for name in ("genlm-control", "torch")}
    answers.write(json.dumps({"ready": "genlm-control", "versions": versions}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = asyncio.run({"runs": runs, "draws": draws}[asked.pop("task")](asked))
        except Exception as error:  # the edge of the process: told, and the next may succeed
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
