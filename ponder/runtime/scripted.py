"""A tiny oracle in place of a model: weighted replies to a prompt, drawn character by character.

The replies to a prompt define an exact distribution over the next character, so log-probabilities,
scores and logits are all consistent, and tests can enumerate every outcome. A token is a Unicode
code point. Its clock stands still, so two runs with one seed are equal to the byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import TOOLS, check_chat, offers_tools
from ponder.runtime.constraints.characters import Characters
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.errors import CapabilityError, ContextOverflow, ModelError
from ponder.runtime.script import END, VOCABULARY, Script, arithmetic, render, spell
from ponder.runtime.scripted_branch import ScriptedBranch
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.stats import EngineStats, EngineTime
from ponder.runtime.tokens import check_ids
from ponder.runtime.values import Prompt, SpliceMode, Tokens, Usage


class ScriptedEngine:
    """An `Engine` whose model is a script. See the module."""

    branch: ClassVar[type[ScriptedBranch]] = ScriptedBranch
    """What it opens; a subclass may draw in another way."""

    def __init__(
        self,
        script: Script = arithmetic,
        *,
        name: str = "scripted",
        context_length: int = 1_000_000,
        delay: Callable[[BranchPath, int], float] | None = None,
        heads: Mapping[str, Callable[[str], tuple[float, ...]]] | None = None,
    ) -> None:
        """A script in place of a model.

        Args:
            script: what is said to a prompt.
            name: of the engine.
            context_length: characters.
            delay: real seconds a decode takes, by path and token count, to shuffle completion
                orders in tests.
            heads: what each says of the whole text up to a token, prompt and all.
        """
        self.name = name
        self.capabilities = Capabilities.everything(
            context_length,
            vocabulary=VOCABULARY,
            splice=frozenset([SpliceMode.REENCODE]),
            live_views=False,
            hidden_states=False,
            heads=tuple(heads or {}),
            chat=frozenset({TOOLS}),
        )
        self.context_length = context_length
        self.script = script
        self.heads = dict(heads or {})
        self._delay = delay
        self._characters = Characters(END)
        self._closed = False
        self._counts = Usage()
        self._opened = 0
        self._branches = 0

    async def open(
        self, prompt: Prompt, *, path: BranchPath, priority: int = 0, adapter: str | None = None
    ) -> ScriptedBranch:
        return await self.reopen(prompt, Standing(path=path), priority=priority, adapter=adapter)

    async def reopen(
        self, prompt: Prompt, standing: Standing, *, priority: int = 0, adapter: str | None = None
    ) -> ScriptedBranch:
        if adapter is not None:
            raise CapabilityError(
                f"engine {self.name!r} has no adapter {adapter!r}; open without one"
            )
        check_chat(prompt, self.capabilities, self.name)
        tokens = self.encode(prompt)
        if len(tokens) >= self.context_length:
            raise ContextOverflow(
                f"the prompt has {len(tokens)} tokens; {self.name!r} holds "
                f"{self.context_length}, one of them for the reply: shorten it"
            )
        standing.check(len(tokens), vocabulary=VOCABULARY, context=self.context_length)
        self.check_open()
        charge = Usage(prompt=len(tokens) + len(standing.tokens))
        self.charge(charge)
        self._opened += 1
        return self.branch(
            self,
            Origin(standing.path, tuple(tokens), standing.forks),
            [*tokens, *standing.tokens],
            len(tokens),
            charge,
            own=standing.own,
            flat=isinstance(prompt, Tokens),
            tools=offers_tools(prompt),
        )

    def count(self, prompt: Prompt) -> int:
        return len(self.encode(prompt))

    def encode(self, prompt: Prompt, *, bare: bool = False) -> list[int]:
        if isinstance(prompt, Tokens):
            check_ids(prompt.ids, VOCABULARY)
            return list(prompt.ids)
        return list(map(ord, render(prompt)))

    def vocabulary(self) -> Vocabulary:
        return self._characters

    def spell(self, tokens: Sequence[int]) -> str:
        return spell(tokens)

    def clock(self) -> float:
        return 0.0

    def stats(self) -> EngineStats:
        return EngineStats(
            prefilled=self._counts.prompt,
            cached=0,
            opened=self._opened,
            decoded=self._counts.decoded,
            scored=self._counts.scored,
            recomputed=0,
            dropped=0,
            computed=self._counts.tokens - self._opened,
            time=EngineTime(),
            steps=self._counts.decoded,
            pages=0,
            pages_held=0,
            pages_shared=0,
            evicted=0,
            preempted=0,
            branches=self._branches,
        )

    async def close(self) -> None:
        self._closed = True

    def check_open(self) -> None:
        if self._closed:
            raise ModelError(f"engine {self.name!r} is closed")

    def charge(self, usage: Usage) -> None:
        self._counts += usage

    def adopt(self, change: int) -> None:
        self._branches += change

    async def pause(self, path: BranchPath, tokens: int) -> None:
        await asyncio.sleep(self._delay(path, tokens) if self._delay else 0)
        self.check_open()
