"""Questions to a model whose replies are read by rule: drawn, parsed, drawn once more where that
fails. What cannot be read is a counted failure, never a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ponder.runtime import Branch, BranchPath, Engine, Prompt, Sampling, Segment, Usage
from ponder.verifiers.phases import Unjudged, closed, forked, phase, then, unjudged

T = TypeVar("T")

REPLY = 256
"""Tokens of one reply, reasoning and all."""
TRIES = 2
"""Draws of one reply at most: a second where the first cannot be read."""
WARM = 0.7
"""Temperature of all draws but a single one's first, which is greedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[T]):
    """One thing to ask, and how to read the reply."""

    path: BranchPath
    prompt: Prompt
    read: Callable[[str], T | None]
    """None where the reply cannot be read."""
    wanted: str
    """What a reply should have held, for who reads of a failure."""
    tokens: int = REPLY


@dataclass(slots=True, kw_only=True, eq=False)
class Replies(Generic[T]):
    """What came of one `Asked`."""

    values: list[T] = field(default_factory=list[T])
    """In the order of their draws."""
    failures: list[str] = field(default_factory=list[str])
    """Of draws that gave no value, the second time too."""
    again: int = 0
    """Draws made a second time."""
    usage: Usage = Usage()


async def replies(engine: Engine, asked: Sequence[Asked[T]], *, draws: int = 1) -> list[Replies[T]]:
    """Draw `draws` replies to each, all at once."""
    found = [Replies[T]() for _ in asked]
    opened = await phase(engine.open(a.prompt, path=a.path) for a in asked)
    roots: list[tuple[Asked[T], Replies[T], Branch]] = []
    for each, into, root in zip(asked, found, opened, strict=True):
        if isinstance(root, Unjudged):
            into.failures = [str(unjudged(root).failure)] * draws
        else:
            roots.append((each, into, root))
    try:
        first = [pair for pair in roots for _ in range(draws)]
        missing = await _draw(first, temperature=0.0 if draws == 1 else WARM, last=False)
        for _, into, _ in missing:
            into.again += 1
        await _draw(missing, temperature=WARM, last=True)
        for _, into, root in roots:
            into.usage += root.usage
    finally:
        for _, _, root in roots:
            root.close()
    return found


async def _draw(
    wanted: Sequence[tuple[Asked[T], Replies[T], Branch]], *, temperature: float, last: bool
) -> list[tuple[Asked[T], Replies[T], Branch]]:
    """One reply for each, and those whose reply could not be read."""
    forks = _forked([root for _, _, root in wanted])
    jobs = [
        fork if isinstance(fork, Unjudged) else (fork, asked.tokens)
        for fork, (asked, _, _) in zip(forks, wanted, strict=True)
    ]
    try:
        drawn = await then(
            jobs, lambda job: job[0].extend(Sampling(max_tokens=job[1], temperature=temperature))
        )
    finally:
        for fork, (_, into, _) in zip(forks, wanted, strict=True):
            into.usage += closed([fork])
    unread: list[tuple[Asked[T], Replies[T], Branch]] = []
    for one, said in zip(wanted, drawn, strict=True):
        if not _take(one[0], one[1], said, last=last):
            unread.append(one)
    return unread


def _forked(roots: Sequence[Branch]) -> list[Branch | Unjudged]:
    """A fork for each; those of one root are made together, so that they may share a request."""
    counts = Counter(map(id, roots))
    each = {id(root): root for root in roots}
    made = {i: iter(forked(root, counts[i])) for i, root in each.items()}
    return [next(made[id(root)]) for root in roots]


def _take(asked: Asked[T], into: Replies[T], said: Segment | Unjudged, *, last: bool) -> bool:
    """Whether this draw is dealt with; False asks for another."""
    if isinstance(said, Unjudged):
        into.failures.append(str(unjudged(said).failure))
        return True
    value = asked.read(said.text)
    if value is not None:
        into.values.append(value)
    elif last:
        end = " ".join(said.text.split())[-60:]
        into.failures.append(f"no {asked.wanted} in two replies; the last ends with {end!r}")
    return value is not None or last
