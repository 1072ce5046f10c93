"""One of many candidates, named by a model that is shown them all (Chen et al. 2023, arXiv
2311.17311). A reply that names none is a stated failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime import BranchPath, Engine, Finish, Sampling
from ponder.verifiers.api import Question
from ponder.verifiers.phases import Unjudged, phase
from ponder.verifiers.wording import MOST_LABEL, MOST_WORDS, PICK, about, read_pick

Picked = tuple[int | None, str | None]
"""The place that was named, from 0, or why there is none."""


async def pick(
    engine: Engine,
    question: Question,
    texts: Sequence[str],
    *,
    path: BranchPath,
    params: Sampling,
    longest: int,
) -> Picked:
    """The one that agrees with most of the others; of one alone nothing is asked.

    Args:
        engine: who is asked.
        question: what the texts reply to.
        texts: at least one, shown in this order.
        path: of the branch.
        params: of the reply.
        longest: characters of a text that are shown; a longer one loses its middle.
    """
    if len(texts) == 1:
        return 0, None
    request = PICK.format(n=len(texts))
    prompt = about(question, texts, request, name="Response", longest=longest)

    async def ask() -> Picked:
        async with await engine.open(prompt, path=path) as branch:
            reply = await branch.extend(params)
        if reply.finish not in (Finish.EOS, Finish.STOP):
            return None, f"the reply was cut short: {reply.finish.value}"
        return read_pick(reply.text, len(texts))

    (picked,) = await phase([ask()])
    return (None, f"not asked to the end: {picked}") if isinstance(picked, Unjudged) else picked


def pick_tokens(prompt: int, candidate: int, n: int, reply: int) -> int:
    """Most tokens: of the prompt, of each of `n` candidates, of the reply."""
    return prompt + n * (candidate + MOST_LABEL) + MOST_WORDS + reply
