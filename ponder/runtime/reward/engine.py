"""A reward model behind an endpoint, as an `Engine` that only reads: branches hold a question and
the steps of an answer, and `read` tells the newest step's reward.

So whatever scores steps on a head (`process_reward`, `outcome_reward`) runs on it as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import Chat, check_chat
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import CapabilityError, ModelError
from ponder.runtime.remote.calls import persist
from ponder.runtime.remote.counting import estimate_prompt
from ponder.runtime.remote.counts import Counts
from ponder.runtime.remote.faults import EndpointError
from ponder.runtime.remote.history import History
from ponder.runtime.remote.text_branch import no_token_ids
from ponder.runtime.reward.branch import RewardBranch
from ponder.runtime.reward.contract import Contract, Reading
from ponder.runtime.reward.gathering import Gathering, Wish
from ponder.runtime.reward.wire import Solution
from ponder.runtime.script import END
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.values import Prompt, SpliceMode, Tokens

HEAD = "reward"

_CAPABILITIES = Capabilities(
    context_length=None,
    fork="text",
    token_ids=False,
    prefix_continuation=None,
    top_k=False,
    min_p=False,
    logprobs=False,
    prompt_logprobs=False,
    logits=False,
    seed=False,
    hidden_states=False,
    heads=(HEAD,),
    splice=frozenset({SpliceMode.REENCODE}),
    live_views=False,
    stream=False,
    decode=False,
)


class RewardEngine:
    """An `Engine` over HTTP that only reads. Open one with `open_engine`, which probes."""

    def __init__(self, contract: Contract) -> None:
        self.name = f"reward:{contract.model}@{contract.endpoint.host}"
        self.capabilities = _CAPABILITIES
        self.contract = contract
        self._counts = Counts(name=self.name)
        self.check_open, self.charge = self._counts.check_open, self._counts.charge
        self.adopt, self.stats = self._counts.adopt, self._counts.stats
        self._down = False
        """The last request failed for good: the next one is tried once."""
        self._gatherings: WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering] = (
            WeakKeyDictionary()
        )

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> RewardBranch:
        return await self.reopen(prompt, Standing(path=path), priority=priority, adapter=adapter)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> RewardBranch:
        if adapter is not None:
            raise CapabilityError(
                f"engine {self.name!r} has no adapter {adapter!r}; open without one, or name the "
                "adapter as the model"
            )
        self.check_open()
        if isinstance(prompt, Tokens):
            raise no_token_ids(self.name)
        check_chat(prompt, self.capabilities, self.name)
        kept = prompt if isinstance(prompt, str) else Chat.of(prompt)
        standing.check(0, vocabulary=END)
        history = History.opened(kept, self.spell(standing.tokens))
        origin = Origin(standing.path, kept, standing.forks)
        ends = tuple(history.border + end for end in standing.ends)
        return RewardBranch(self, origin, history, own=standing.own, ends=ends)

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
        for gathering in list(self._gatherings.values()):
            gathering.fail(ModelError(f"engine {self.name!r} is closed"))

    async def read(self, path: BranchPath, solution: Solution) -> Reading:
        """Shares a request with what is read in the same turn of the event loop."""
        self.check_open()
        loop = asyncio.get_running_loop()
        if loop not in self._gatherings:
            self._gatherings[loop] = Gathering(self._ask)
        return await self._gatherings[loop].read(Wish(path, solution))

    async def _ask(self, wishes: Sequence[Wish]) -> list[Reading | ModelError]:
        solutions = [wish.solution for wish in wishes]
        try:
            said = await persist(
                self.contract.endpoint,
                wishes[0].path,
                lambda: self.contract.ask(solutions),
                lambda: not self._down,
            )
        except EndpointError as error:
            # A search asks hundreds of times: that each waits for a dead endpoint helps nobody.
            self._down = error.retryable
            raise
        self._down = False
        return said
