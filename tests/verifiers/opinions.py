"""Judges on a script whose opinion is known: a solution is as good as the number in its answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

from ponder.runtime import BranchPath, Finish, ScriptedEngine, Usage
from ponder.verifiers import Candidate, Question, Verdict, verifier_kind

QUESTION = Question(text="Which is best?")
PATH = BranchPath(5, ("judge",))
Script = Callable[[str], Mapping[str, float]]


def attempts(*answers: object) -> list[Candidate]:
    return [
        Candidate(
            source="sample",
            index=i,
            text=f"The answer is {answer}.",
            finish=Finish.EOS,
            logprobs=(-0.1,),
            usage=Usage(decoded=5),
        )
        for i, answer in enumerate(answers)
    ]


def shown(prompt: str) -> list[int]:
    """The answers of the solutions in a judge's prompt, in order."""
    return [int(number) for number in re.findall(r"The answer is (\d+)", prompt)]


def wise(prompt: str) -> Mapping[str, float]:
    """Grades by the answer, and prefers and ranks the larger one."""
    seen = shown(prompt)
    if "Score: N" in prompt:
        return {f"It says {seen[0]}.\nScore: {seen[0]}": 1.0}
    if "Verdict: Yes" in prompt:
        said = {"Sure.\nVerdict: Yes": seen[0] / 10, "No.\nVerdict: No": 1 - seen[0] / 10}
        return {reply: weight for reply, weight in said.items() if weight}
    if "Better: 1" in prompt:
        return {f"Well.\nBetter: {1 + (seen[1] > seen[0])}": 1.0}
    order = sorted(range(len(seen)), key=lambda i: -seen[i])
    return {" > ".join(str(i + 1) for i in order): 1.0}


def always(reply: str) -> Script:
    return lambda prompt: {reply: 1.0}


def judged(
    kind: str, candidates: Sequence[Candidate], script: Script = wise
) -> tuple[list[Verdict], ScriptedEngine]:
    engine = ScriptedEngine(script)
    verifier = verifier_kind(kind).build(engine, PATH)
    verdicts = asyncio.run(verifier.judge(QUESTION, candidates))
    assert engine.stats().branches == 0
    assert sum((v.usage for v in verdicts), Usage()).decoded == engine.stats().decoded
    return verdicts, engine
