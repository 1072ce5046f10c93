"""A model behind an endpoint, as an `Engine`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from weakref import WeakKeyDictionary

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import Chat, check_chat
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import CapabilityError, ModelError
from ponder.runtime.remote.abilities import Abilities
from ponder.runtime.remote.batch import Gathering, Member
from ponder.runtime.remote.body import Manner
from ponder.runtime.remote.branch import RemoteBranch
from ponder.runtime.remote.cache import remember
from ponder.runtime.remote.counting import estimate_prompt
from ponder.runtime.remote.counts import Counts
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.history import History
from ponder.runtime.remote.scoring import Results, score
from ponder.runtime.remote.text_branch import no_token_ids
from ponder.runtime.script import END
from ponder.runtime.seeds import BranchPath, philox
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.values import Prompt, Tokens

_SEEDS = 2**31
"""What every endpoint takes: a signed word of 32 bits, not negative."""


class RemoteEngine:
    """An `Engine` over HTTP. Open one with `open_engine`, which probes the endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        abilities: Abilities,
        *,
        fallback: bool = False,
        context_length: int | None = None,
        logprobs: bool = True,
    ) -> None:
        """`logprobs` False saves the traffic of log-probabilities; then the engine has none."""
        self.name = f"openai:{model}@{endpoint.host}"
        self.endpoint = endpoint
        self.manner = Manner(
            model=model,
            name=self.name,
            abilities=abilities,
            fallback=fallback,
            logprobs=logprobs and abilities.logprobs,
        )
        known = abilities.capabilities(fallback=fallback, context_length=context_length)
        self.capabilities: Capabilities = replace(
            known, logprobs=self.manner.logprobs, confidence=self.manner.confidence
        )
        self._counts = Counts(name=self.name)
        self.check_open, self.charge = self._counts.check_open, self._counts.charge
        self.adopt, self.stats = self._counts.adopt, self._counts.stats
        self._gatherings: WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering] = (
            WeakKeyDictionary()
        )
        self._members: set[Member] = set()

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> RemoteBranch:
        return await self.reopen(prompt, Standing(path=path), priority=priority, adapter=adapter)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> RemoteBranch:
        """Charged with the first call, as all that is sent is."""
        if adapter is not None:
            raise CapabilityError(
                f"engine {self.name!r} has no adapter {adapter!r}; open without one, or name the "
                "adapter as the model"
            )
        self.check_open()
        if isinstance(prompt, Tokens):
            raise no_token_ids(self.name)
        check_chat(prompt, self.capabilities, self.name)
        standing.check(0, vocabulary=END)
        kept = prompt if isinstance(prompt, str) else Chat.of(prompt)
        history = History.opened(kept, self.spell(standing.tokens))
        origin = Origin(standing.path, kept, standing.forks)
        return RemoteBranch(self, origin, history, own=standing.own)

    def count(self, prompt: Prompt) -> int:
        if isinstance(prompt, Tokens):
            raise no_token_ids(self.name)
        return estimate_prompt(prompt)

    def encode(self, prompt: Prompt, *, bare: bool = False) -> Sequence[int]:
        raise no_token_ids(self.name)

    def vocabulary(self) -> Vocabulary:
        raise no_token_ids(self.name)

    def spell(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def clock(self) -> float:
        return time.monotonic()

    async def close(self) -> None:
        """Connections stay with the loop, for the endpoint's other engines, until it ends."""
        self._counts.closed = True
        for member in list(self._members):
            member.settle(ModelError(f"engine {self.name!r} is closed"))

    def seed(self, path: BranchPath, position: int) -> tuple[int, int]:
        """The seed of a draw, and the branch's place among its siblings, which have neighbouring
        seeds.
        """
        last = path.steps[-1] if path.steps else 0
        place = last if isinstance(last, int) else 0
        parent = BranchPath(path.seed, path.steps[:-1]) if isinstance(last, int) else path
        return (_first_seed(parent, position) + place) % _SEEDS, place

    def enter(self, member: Member, place: int, group: object | None) -> None:
        """Ask for a reply; siblings of one group may share a request."""
        self._members.add(member)
        self._gathering().enter(member, place, group)

    def leave(self, member: Member) -> None:
        self._members.discard(member)
        self._gathering().leave(member)

    def gave(self, choices: int) -> None:
        """The endpoint gave fewer choices than asked for: never ask for more than that again."""
        abilities = replace(self.manner.abilities, choices=max(1, choices))
        self.manner = replace(self.manner, abilities=abilities)
        remember(self.endpoint, self.manner.model, abilities)

    async def score(
        self, path: BranchPath, history: History, continuations: Sequence[str | Tokens]
    ) -> Results:
        texts = [each for each in continuations if isinstance(each, str)]
        if len(texts) < len(continuations):
            raise no_token_ids(self.name)
        return await score(self.endpoint, self.manner, path, history, texts)

    def _gathering(self) -> Gathering:
        loop = asyncio.get_running_loop()
        if loop not in self._gatherings:
            self._gatherings[loop] = Gathering(self)
        return self._gatherings[loop]


@lru_cache(maxsize=256)
def _first_seed(parent: BranchPath, position: int) -> int:
    """Before the siblings' places are added; they ask one after the other."""
    return philox((position, 0, 0, 1), parent.key())[0]
