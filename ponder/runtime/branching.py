"""The seam between Ponder and whatever runs a model, its one half: a branch decodes, forks, rewinds
and scores.

Nothing here knows of questions, answers, strategies or budgets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, Self

from ponder.runtime.picking import Choose
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Leaving, Standing
from ponder.runtime.values import (
    Delta,
    Logits,
    Pooling,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Tokens,
    Usage,
)


class Branch(Leaving, Protocol):
    """A living sequence of tokens. Close it, or use `async with`. One call at a time on one branch:
    a second one, a fork or a rewind meanwhile raises `InputError`. Branches are many.
    """

    @property
    def path(self) -> BranchPath: ...

    @property
    def tokens(self) -> Sequence[int]:
        """The journal: every token of prompt and continuation. It defines the branch; KV is a
        cache. Where `Capabilities.token_ids` is false, its Unicode code points.
        """
        ...

    @property
    def tail(self) -> Sequence[int]:
        """The tokens beyond those it was forked with; where it was opened, all."""
        ...

    @property
    def text(self) -> str:
        """Everything after the prompt."""
        ...

    @property
    def usage(self) -> Usage:
        """What this branch was charged since it was opened or forked; its ancestors' charges are
        theirs.
        """
        ...

    @property
    def resent(self) -> int:
        """Tokens of the past that each call charges again: 0 where the engine keeps KV."""
        ...

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> Sequence[Branch]:
        """`n` children that share this branch's past; child `i` has path `(..., name, first + i)`.
        Nothing is copied.

        Args:
            n: at least 1.
            first: number of the first child.
            name: of this fork; None takes the number of forks without a name so far. Children of
                equal paths draw alike, so whoever gives names gives each once.
        """
        ...

    def standing(self) -> Standing:
        """What `Engine.reopen` takes to open it again, here or elsewhere; told of a closed branch,
        too.

        Raises:
            InputError: tokens alone do not define it: its prompt was edited, KV was kept across an
                edit, or it shares others.
        """
        ...

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        """Decode until a stop and commit. Cancelling it keeps what was drawn.

        Args:
            params: how to draw.
            deadline: on the engine's clock, seconds; reached, the decode ends with `Finish.BUDGET`.

        Raises:
            BranchClosed: the branch was closed.
            ModelError: the engine failed; the branch keeps the tokens committed before.
        """
        ...

    def stream(self, params: Sampling, *, deadline: float | None = None) -> AsyncIterator[Delta]:
        """`extend`, piece by piece; the pieces' texts joined are the segment's text."""
        ...

    async def draw(self, choose: Choose) -> Segment:
        """Commit one token, which `choose` picks of the logits that it is shown; charged as
        decoded. While it thinks, other branches go on.

        Returns:
            The token, with `Finish.EOS` if it is an end token, else `LENGTH`; its log-probability
            is the model's own. No token: `STOP`, where nothing was picked (charged as scored),
            `LENGTH`, where the context is full.

        Raises:
            CapabilityError: the engine tells no logits.
            InputError: no token of the model's was picked; or what `choose` raised, whatever it is:
                then the branch is as before.
            BranchClosed: the branch was closed meanwhile.
        """
        ...

    async def append(self, text: str) -> None:
        """Commit given text, tokenised by itself."""
        ...

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        """Log-probabilities of each continuation after this branch; nothing is committed. Text is
        tokenised by itself.
        """
        ...

    async def logits(self) -> Logits:
        """Of the next token."""
        ...

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        """Of the token after each of the tokens `start` to `stop`: the last of `span_logits(0, n)`
        is `logits()` of `n` tokens.
        """
        ...

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        """What a head says at every token from `start` (None: at the last one) to the end; nothing
        is committed.

        Raises:
            CapabilityError: this engine has no head by that name; or `start` is given where tokens
                are not the model's own (`Capabilities.token_ids`).
        """
        ...

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        """The normed last hidden states of the tokens from `start` on, as one vector; charged as
        `scored` for each of them.

        Raises:
            CapabilityError: this engine gives no hidden states.
        """
        ...

    def rewind(self, to: int) -> None:
        """Forget all but the first `to` tokens; at least one stays."""
        ...

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        """Put `text`, tokenised by itself, in place of tokens `start` to `stop`.

        `REENCODE` charges the text and all tokens behind it as prompt, the other modes the text
        alone. Under those the text sees what is before it, and the tokens behind keep their KV, all
        but the last one: its KV is never kept, so it is computed anew at the position behind all
        others, whenever logits are needed. With fewer than two tokens behind, nothing is there to
        keep, and all modes are one.

        Args:
            start: 0 to `stop`; one token must be left, or given.
            stop: up to the number of tokens.
            text: may be empty.
            mode: what becomes of the KV behind the edit.

        Raises:
            CapabilityError: the engine does not have this mode.
            InputError: the range is wrong, or the branch shares others (`share`).
            ContextOverflow: the text leaves no room for one token.
        """
        ...

    async def join(self, others: Sequence[Self], mode: SpliceMode = SpliceMode.REENCODE) -> None:
        """Append the tails of `others`, forks of this branch, in order. They stay usable.

        `REENCODE` charges the tails as prompt; the other modes charge nothing, since the tails
        bring their KV along. Under those each tail saw its own branch only, except for the last
        token of all, whose KV is never kept: computed anew, behind all others, it sees everything.

        Raises:
            CapabilityError: the engine does not have this mode.
            InputError: `others` are not forks of this branch, or share others (then `REENCODE`).
            ContextOverflow: the tails leave no room for one token.
        """
        ...

    def share(self, others: Sequence[Self]) -> None:
        """Show this branch the growing tails of `others`, forks of the same branch as this one
        (Hogwild, arXiv 2504.06261, token-wise).

        What this branch computes from now on, its newest token first, sees: what it was forked with
        but for the last token, the others' tails in the order given, then that token and its own
        tail, all at consecutive positions, which move as the others grow. Of the others it sees
        what they have computed: all but their newest token, or in a step that computes several
        branches, what they compute in that step too. Sharing is one-sided; sharing again, with
        nobody perhaps, takes the place of it. Forks share what their parent shares. A closed
        branch's tail stays as it is.

        What such a branch computed cannot be computed again, so its KV and the tails it sees are
        pinned, its own until it is closed; and it is neither spliced nor joined, except with
        `REENCODE`.

        Raises:
            CapabilityError: the engine has no live views.
            InputError: `others` are not forks of the same branch, each once.
        """
        ...

    def pin(self) -> None:
        """Never take this branch's KV to make room for others, until `unpin` as often or `close`.

        When nothing else is left to take, others fail with `PoolExhausted`.
        """
        ...

    def unpin(self) -> None:
        """Take back one `pin`."""
        ...

    def close(self) -> None:
        """Let go of the branch's KV; closing twice is allowed. A decode under way ends with
        `Finish.CANCELLED`, any other call with `BranchClosed`.
        """
        ...
