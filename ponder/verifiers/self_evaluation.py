"""Ask the model whether a solution is right, and read the probability of Yes against No.

One prompt and two scored continuations a candidate; nothing is decoded, so nothing has to be
parsed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import BranchPath, BudgetExceeded, Engine, Message
from ponder.verifiers.api import Candidate, Question, Verdict

WORDS = ("Yes", "No")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEvaluation:
    """P(Yes) / (P(Yes) + P(No)) after the question and the solution."""

    engine: Engine
    path: BranchPath

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(self._judge(question, c)) for c in candidates]
        return [job.result() for job in jobs]

    async def _judge(self, question: Question, candidate: Candidate) -> Verdict:
        path = self.path.child(candidate.source, candidate.index)
        prompt = judge_prompt(question, candidate)
        try:
            async with await self.engine.open(prompt, path=path) as branch:
                yes, no = (scored.total for scored in await branch.score(WORDS))
                usage = branch.usage
        except BudgetExceeded as error:
            return Verdict(failure=f"not judged: {error}")
        top = max(yes, no)
        if not math.isfinite(top):
            return Verdict(failure=f"neither Yes nor No is possible: {yes}, {no} nats", usage=usage)
        weights = math.exp(yes - top), math.exp(no - top)
        return Verdict(score=weights[0] / sum(weights), usage=usage)


def judge_prompt(question: Question, candidate: Candidate) -> tuple[Message, ...]:
    return (
        Message(
            role="user",
            content=f"Question:\n{question.text}\n\nProposed solution:\n{candidate.text}\n\n"
            "Is the final answer of this solution correct? Reply with Yes or No.",
        ),
    )
