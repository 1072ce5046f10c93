"""Where candidates come to be judged, alone or together: each text once, whoever asks meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ponder.runtime import Usage
from ponder.verifiers import Candidate, Question, Verdict, Verifier, plain

Place = tuple[str, int]
"""(source, index) of a candidate."""
_Key = str | Place


@dataclass(slots=True, kw_only=True, eq=False)
class Bench:
    """See the module."""

    verifier: Verifier
    question: Question
    by_text: bool
    """Texts equal when plain share a verdict. Not so where more is judged than the text."""
    _asked: dict[_Key, tuple[asyncio.Future[list[Verdict]], int]] = field(
        default_factory=dict[_Key, tuple[asyncio.Future[list[Verdict]], int]]
    )
    """Where the verdict of a key is, or will be."""
    _seen: dict[_Key, list[Place]] = field(default_factory=dict[_Key, list[Place]])

    async def judge(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """In their order. A shared verdict's usage is with the one that was judged."""
        fresh: dict[_Key, Candidate] = {}
        for candidate in candidates:
            key = self._key(candidate)
            self._seen.setdefault(key, []).append((candidate.source, candidate.index))
            if key not in self._asked:
                fresh.setdefault(key, candidate)
        if fresh:
            shown = [self._shown(candidate) for candidate in fresh.values()]
            work = asyncio.ensure_future(self.verifier.judge(self.question, shown))
            self._asked.update({key: (work, i) for i, key in enumerate(fresh)})
        return [await self._verdict(candidate, fresh) for candidate in candidates]

    async def _verdict(self, candidate: Candidate, fresh: dict[_Key, Candidate]) -> Verdict:
        key = self._key(candidate)
        work, place = self._asked[key]
        verdict = (await work)[place]
        return verdict if fresh.get(key) is candidate else replace(verdict, usage=Usage())

    def duplicates(self) -> Iterator[tuple[Place, Place]]:
        """Each candidate that says what another does, with the first of those in order."""
        for places in self._seen.values():
            first, *others = sorted(places)
            yield from ((other, first) for other in others)

    def _shown(self, candidate: Candidate) -> Candidate:
        """Equal for equal texts, whichever of them came first."""
        return replace(candidate, text=plain(candidate.text)) if self.by_text else candidate

    def _key(self, candidate: Candidate) -> _Key:
        if self.by_text:
            return plain(candidate.text)
        return candidate.source, candidate.index
