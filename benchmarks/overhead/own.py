"""Ponder as a contender of `orchestration.py`, through its `openai:` engine and one `Runtime`.

It has no judge that is asked in words yet, so best-of-N here brings its own, as a user may: one
request a candidate, in the wording of its-hub's judge. What it cannot read is a failure, not a
score.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

from benchmarks.overhead.script import JUDGE
from benchmarks.rivals.asking import Answered, Ask, serve
from ponder.orchestrator import Expression, Result, Runtime, Status, best, sample, step, vote
from ponder.runtime import BudgetExceeded, Message, PonderError, Sampling, open_engine
from ponder.strategies import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import mapped
from ponder.verifiers import Candidate, ExactEquivalence, Verdict

WORDS = f"""{JUDGE} on a scale of 0-10.
Return only a JSON object with your score.

Conversation:
user: {{question}}
assistant: {{solution}}

Format: {{{{"score": <number>}}}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A judge that is asked in words; a strategy of the benchmark's own."""

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "a benchmark"

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async def one(item: Item) -> Candidate:
            if not isinstance(item, Candidate):
                raise TypeError(f"a judge takes candidates, not {item!r}")
            return item.judged(await self._verdict(ctx, item))

        async with aclosing(mapped(inputs, one)) as judged:
            async for candidate in judged:
                yield candidate

    async def _verdict(self, ctx: Context, candidate: Candidate) -> Verdict:
        words = WORDS.format(question=ctx.question.text, solution=candidate.text)
        path = ctx.path.child(candidate.index)
        try:
            turns = [Message(role="user", content=words)]
            async with await ctx.engine().open(turns, path=path) as branch:
                said = await branch.extend(Sampling(max_tokens=64, temperature=0.0))
        except BudgetExceeded:
            return Verdict(failure="no budget")
        try:
            return Verdict(score=json.loads(said.text)["score"] / 10, usage=said.usage)
        except (ValueError, KeyError, TypeError):
            return Verdict(failure=f"no score in {said.text!r}", usage=said.usage)

    def bound(self, load: Load) -> Bound:
        tokens = load.candidates * (2 * load.prompt_tokens + load.candidate_tokens + 256)
        return Bound(
            calls=load.candidates,
            tokens=tokens,
            branches=load.candidates,
            candidates=load.candidates,
            candidate_tokens=load.candidate_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        return {"policy": frozenset()}


def strategy(ask: Ask) -> Expression:
    drawn = sample(ask.n, max_tokens=64)
    return drawn | vote() if ask.method == "self_consistency" else drawn | step(Rated()) | best()


class Ponder:
    """An `Asker`."""

    def __init__(self) -> None:
        self.versions = {"ponder": version("ponder"), "openai": version("openai")}
        self.children: Sequence[int] = ()
        self._loop = asyncio.Runner()
        self._runtime: Runtime | None = None

    def prepare(self, ask: Ask) -> None:
        # A loop of its own each time, so that no connection is left from before.
        self._loop.close()
        self._loop = asyncio.Runner()
        engine = open_engine(
            f"openai:{ask.model}", base_url=ask.url, api_key="x", timeout=ask.timeout or 600.0
        )
        self._runtime = Runtime(
            engine, equivalence=ExactEquivalence(), concurrency=ask.concurrency or 64
        )

    def go(self, ask: Ask) -> list[Answered]:
        return self._loop.run(self._all(ask))

    async def _all(self, ask: Ask) -> list[Answered]:
        places = asyncio.Semaphore(ask.at_once)

        async def one(place: int) -> Answered:
            async with places:
                return await self._one(ask, place)

        return await asyncio.gather(*map(one, range(len(ask.questions))))

    async def _one(self, ask: Ask, place: int) -> Answered:
        if self._runtime is None:
            raise RuntimeError("asked before it was prepared")
        try:
            async with asyncio.timeout(ask.limit):
                result = await self._runtime.solve(
                    ask.questions[place], strategy(ask), seed=ask.seed + place
                )
        except TimeoutError:
            return Answered(late=True)
        except PonderError as error:
            return Answered(error=f"{type(error).__name__}: {error}")
        return Answered(answer=result.answer, told=result.usage.tokens, flagged=_flagged(result))


def _flagged(result: Result) -> bool:
    verdicts = [attempt.candidate.verdict for attempt in result.candidates]
    failed = any(verdict is not None and verdict.failure is not None for verdict in verdicts)
    return failed or result.status is not Status.COMPLETE


if __name__ == "__main__":
    serve(Ponder)
