"""Groups equal answers, so that they can vote: canonical keys first, then an `Equivalence` between
the groups' first members. It knows neither scores nor candidates (dossier S 0.1, 0.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.verifiers.api import Equivalence
from ponder.verifiers.keys import canonical
from ponder.verifiers.structured import SameJson


class Groups:
    """Answers as they come: each joins the oldest group whose first member it equals, so the same
    answers in the same order make the same groups. At most one comparison for each pair of distinct
    keys.
    """

    def __init__(self, equivalence: Equivalence) -> None:
        self.leaders: list[str] = []
        """The first member of each."""
        self._known: dict[str, int] = {}
        self._equivalence = equivalence

    async def place(self, answer: str) -> int:
        """The number of its group, which is opened where it fits none."""
        key = answer if isinstance(self._equivalence, SameJson) else canonical(answer)
        if key not in self._known:
            self._known[key] = await self._compare(answer)
        return self._known[key]

    async def _compare(self, answer: str) -> int:
        for number, leader in enumerate(self.leaders):
            if await self._equivalence.same(leader, answer):
                return number
        self.leaders.append(answer)
        return len(self.leaders) - 1


async def group(answers: Sequence[str | None], equivalence: Equivalence) -> list[int | None]:
    """The group of each answer, numbered in order of first appearance; None for no answer."""
    groups = Groups(equivalence)
    return [None if answer is None else await groups.place(answer) for answer in answers]
