"""Groups equal answers, so that they can vote: canonical keys first, then an `Equivalence` between
the groups' first members. It knows neither scores nor candidates (dossier S 0.1, 0.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.verifiers.api import Equivalence
from ponder.verifiers.keys import canonical
from ponder.verifiers.structured import SameJson


async def group(answers: Sequence[str | None], equivalence: Equivalence) -> list[int | None]:
    """The group of each answer, numbered in order of first appearance; None for no answer.

    An answer joins the oldest group whose first member it equals: the same answers in the same
    order make the same groups. At most one comparison for each pair of distinct keys.
    """
    leaders = list[str]()
    known = dict[str, int]()
    groups = list[int | None]()
    for answer in answers:
        if answer is None:
            groups.append(None)
            continue
        key = answer if isinstance(equivalence, SameJson) else canonical(answer)
        if key not in known:
            known[key] = await place(answer, leaders, equivalence)
        groups.append(known[key])
    return groups


async def place(answer: str, leaders: list[str], equivalence: Equivalence) -> int:
    """The group of an answer with a new key; opens one where none fits."""
    for number, leader in enumerate(leaders):
        if await equivalence.same(leader, answer):
            return number
    leaders.append(answer)
    return len(leaders) - 1
