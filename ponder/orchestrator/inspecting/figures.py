"""What a search tree comes to, in numbers: what grew, what of it was kept, what was in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ponder.orchestrator.inspecting.forest import GrownTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Some steps of a tree."""

    steps: int
    tokens: int
    """Drawn for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one search."""

    node: str
    verifier: str
    grown: Amount
    """All steps but the root: the denominator of the other amounts."""
    kept: Amount
    """On a path that the search answered with."""
    chosen: Amount
    """On the path that the run's answer is read from; nothing where that is another's."""
    ends: Mapping[str, Amount]
    """By why they ended; together all that grew."""
    expansions: int
    """Nodes that have next steps, the root too."""
    depth: int
    """Steps of the longest path."""
    repeated: Amount
    """Steps that say what an elder sibling says, whether or not the search noticed."""
    ahead: int
    """Tokens drawn beyond steps to judge those by, and thrown away; not of `grown`."""
    judged: int
    """Steps with a verdict: passes of the verifier."""
    failures: int
    """Of `judged`."""
    judging: int
    """Tokens that the verifier was given and scored for steps."""


def figures(tree: GrownTree) -> Figures:
    steps = range(1, len(tree.steps))
    reasons = Counter(tree.steps[i].end for i in steps)
    judged = [s for s in tree.steps if s.score is not None or s.failure is not None]
    return Figures(
        node=tree.node,
        verifier=tree.verifier,
        grown=_amount(tree, steps),
        kept=_amount(tree, {i for leaf in tree.paths for i in tree.above(leaf)} - {0}),
        chosen=_amount(tree, set(tree.above(tree.chosen)) - {0}),
        ends={
            end: _amount(tree, (i for i in steps if tree.steps[i].end == end))
            for end, _ in reasons.most_common()
        },
        expansions=sum(bool(step.children) for step in tree.steps),
        depth=max(len(step.place) for step in tree.steps),
        repeated=_amount(tree, _repeated(tree)),
        ahead=sum(step.ahead for step in tree.steps),
        judged=len(judged),
        failures=sum(step.failure is not None for step in judged),
        judging=sum(step.judged for step in tree.steps),
    )


def _amount(tree: GrownTree, numbers: Iterable[int]) -> Amount:
    tokens = [tree.steps[number].tokens for number in numbers]
    return Amount(steps=len(tokens), tokens=sum(tokens))


def _repeated(tree: GrownTree) -> list[int]:
    found: list[int] = []
    for step in tree.steps:
        said: set[str] = set()
        for child in step.children:
            text = tree.steps[child].text.strip()
            if text in said:
                found.append(child)
            said.add(text)
    return found
