"""What the laws have in common: prompts, settings, and questions asked of any branch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from ponder.runtime import Branch, BranchPath, Engine, Message, Sampling

PATH = BranchPath(11, ("laws",))
TURNS = [Message(role="user", content="Write a few random letters.")]
BRIEF = [Message(role="user", content="Say yes.")]
"""Where a turn is soon over."""
FREE = Sampling(max_tokens=12)
GREEDY = Sampling(max_tokens=8, temperature=0)
LONG = Sampling(max_tokens=300)
ONE = Sampling(max_tokens=1)
BROKEN = "\ufffd"
"""What shows in place of half a character."""

CLOSE = 1e-3
"""Nats."""


def needs(*capabilities: str) -> pytest.MarkDecorator:
    return pytest.mark.needs(*capabilities)


async def opened(engine: Engine, *steps: str | int) -> Branch:
    return await engine.open(TURNS, path=PATH.child(*steps))


async def used(engine: Engine, branch: Branch) -> None:
    """Something that costs: a draw, or where an engine only reads, a read."""
    if engine.capabilities.decode:
        await branch.extend(FREE)
        return
    await branch.append(" a")
    await branch.read(engine.capabilities.heads[0])


def said(branch: Branch, prompt: int) -> Sequence[int]:
    """Tokens behind the prompt's."""
    return tuple(branch.tokens)[prompt:]


def log_softmax(logits: Sequence[float]) -> list[float]:
    best = max(logits)
    norm = best + math.log(math.fsum(math.exp(v - best) for v in logits))
    return [v - norm for v in logits]


def likeliest(logits: Sequence[float]) -> int:
    return max(range(len(logits)), key=lambda t: (logits[t], -t))


def alike(one: Sequence[float], other: Sequence[float]) -> None:
    """Whether two lists of logits are close; most of a script's are -inf."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert max((abs(a - b) for a, b in pairs), default=0.0) < CLOSE


async def same_future(one: Branch, other: Branch, engine: Engine) -> None:
    """Whether both go on alike, as far as the engine tells."""
    if engine.capabilities.logits:
        alike(await one.logits(), await other.logits())
        return
    ahead = [(await branch.extend(GREEDY)).text for branch in (one, other)]
    assert ahead[0] == ahead[1]
