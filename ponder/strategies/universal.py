"""Universal self-consistency: a model is shown all candidates and names the one that agrees most
with the others, so that text of any form can be voted on (Chen et al. 2023, arXiv 2311.17311).

The order in which candidates are shown is drawn from the run's seed. A reply that names none is a
stated failure in the trace, and then the first candidate is taken, with no confidence.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import (
    BudgetExceeded,
    ContextOverflow,
    Finish,
    InputError,
    Message,
    ModelError,
    Sampling,
)
from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.ranking import candidates_in, in_order, named
from ponder.verifiers import Candidate, Question, answer_of, group

_CUT = "\n[... the middle is left out ...]\n"
_REQUEST = (
    "Compare the final answers of these {n} responses. Which response agrees with most of the "
    "others? Name one, and end your reply with its number, as in\nResponse 1"
)
_NUMBER = re.compile(r"[0-9]+")

# Characters, and so tokens at most, of the words around question and candidates with what a chat
# template puts around a turn, and of those around one candidate.
_WORDING = 512
_LABEL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Universal:
    """Answer with the candidate that a model finds most consistent with the others.

    The confidence is the share of candidates that give the same final answer.
    """

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "Chen et al. 2023, arXiv 2311.17311"

    engine: str = "policy"
    """Role of the engine that is asked."""
    shown: int = 8000
    """Characters of a candidate that it is shown, at least 100; a longer one loses its middle."""
    max_tokens: int = 256
    """Of its reply, which is drawn greedily."""

    def __post_init__(self) -> None:
        if self.shown < 100:
            raise InputError(f"shown is {self.shown!r}; it must be at least 100 characters")
        self.sampling()

    def sampling(self) -> Sampling:
        return Sampling(max_tokens=self.max_tokens, temperature=0.0)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        candidates = in_order(candidates_in(await collected(inputs)))
        if not candidates:
            yield Answer(text=None, confidence=None, chosen=None)
            return
        order = sorted(range(len(candidates)), key=ctx.path.child("order").uniform)
        picked, failure = await self._pick(ctx, [candidates[i] for i in order])
        chosen = 0 if picked is None else order[picked]
        answers = [answer_of(ctx.question, candidate) for candidate in candidates]
        ctx.record(
            "universal",
            of=len(candidates),
            order=[[candidates[i].source, candidates[i].index] for i in order],
            shortened=sum(len(c.text) > self.shown for c in candidates),
            picked=None if picked is None else picked + 1,
            failure=failure,
        )
        groups = await group(answers, ctx.equivalence)
        sure = picked is not None and answers[chosen] is not None
        yield Answer(
            text=answers[chosen],
            confidence=groups.count(groups[chosen]) / len(groups) if sure else None,
            chosen=named(candidates[chosen]),
        )

    async def _pick(
        self, ctx: Context, shown: Sequence[Candidate]
    ) -> tuple[int | None, str | None]:
        """The place of the candidate that was named, or why there is none."""
        if len(shown) == 1:
            return 0, None
        engine = ctx.engine(self.engine, purpose="verifier")
        prompt = self._prompt(ctx.question, [candidate.text for candidate in shown])
        try:
            async with await engine.open(prompt, path=ctx.path) as branch:
                reply = await branch.extend(self.sampling())
        except (BudgetExceeded, ContextOverflow, ModelError) as error:
            return None, f"not asked to the end: {error}"
        if reply.finish not in (Finish.EOS, Finish.STOP):
            return None, f"the reply was cut short: {reply.finish.value}"
        return named_in(reply.text, len(shown))

    def _prompt(self, question: Question, texts: Sequence[str]) -> tuple[Message, ...]:
        blocks = [
            f"Question:\n{question.text}",
            *(
                f"Response {i}:\n---\n{shortened(text, self.shown)}\n---"
                for i, text in enumerate(texts, start=1)
            ),
            _REQUEST.format(n=len(texts)),
        ]
        return (*question.history, Message(role="user", content="\n\n".join(blocks)))

    def bound(self, load: Load) -> Bound:
        if load.candidates < 2:
            return Bound()
        shown = load.candidates * (load.candidate_tokens + _LABEL)
        return Bound(
            calls=1, tokens=load.prompt_tokens + shown + _WORDING + self.max_tokens, branches=1
        )

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: frozenset()}


def named_in(reply: str, n: int) -> tuple[int | None, str | None]:
    """The place, from 0, that the last integer of a reply names, or why it names none of `n`."""
    numbers = _NUMBER.findall(reply)
    if not numbers:
        return None, f"no number in the reply, which ends with {reply[-60:]!r}"
    last = numbers[-1]
    # Python refuses to read numbers of thousands of digits.
    if len(last) > 9 or not 1 <= int(last) <= n:
        return None, f"the reply names {last[:20]} of {n}"
    return int(last) - 1, None


def shortened(text: str, most: int) -> str:
    """Without its middle, where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    half = (most - len(_CUT)) // 2
    return f"{text[:half]}{_CUT}{text[-half:]}"
