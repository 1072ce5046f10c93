"""Siblings that ask the same at the same moment share one request, a choice each.

Knows nothing of branches: members come with what they ask and leave with what came. A member that
leaves early stops the request when it was the last to wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from ponder.runtime.remote.abilities import Abilities
from ponder.runtime.remote.body import Body, Manner, request
from ponder.runtime.remote.calls import ask, explained, persist, pieces
from ponder.runtime.remote.counting import estimate, shares
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.faults import EndpointError, NotFound
from ponder.runtime.remote.growing import Growing
from ponder.runtime.remote.history import History
from ponder.runtime.remote.wire import Reply, Told
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Sampling, Usage


class Member:
    """One branch's share of a request."""

    def __init__(
        self,
        path: BranchPath,
        seed: int,
        history: History,
        params: Sampling,
        growing: Growing,
        *,
        live: bool,
        pieces: asyncio.Queue[str | None] | None,
    ) -> None:
        self.path = path
        self.seed = seed
        self.history = history
        self.params = params
        self.growing = growing
        self.live = live
        """The reply is wanted as it is drawn."""
        self.pieces = pieces
        """Where each piece of text goes; None at the end."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.usage = Usage()
        """Of the reply, and of attempts that broke off."""
        self.charged = False
        """`usage` says all; else the reply was left before its end."""
        self.first = False
        """Bears the prompt of a shared request."""

    @property
    def waiting(self) -> bool:
        return not self.done.done()

    def reckon(self, told: Told | None, decoded: int | None) -> None:
        """Charge for the reply: as told, else by the log-probabilities that came, else by the
        text.
        """
        growing = self.growing
        prompt = cached = unknown = 0
        if self.first and told is not None:
            prompt, cached = told.prompt_tokens, told.cached
        elif self.first:
            prompt = unknown = self.history.tokens
        if decoded is None:
            decoded = len(growing.logprobs) or estimate(growing.text + growing.reasoning)
            unknown += 0 if growing.logprobs else decoded
        self.usage += Usage(prompt=prompt, cached=cached, decoded=decoded, estimated=unknown)
        self.charged = True

    def settle(self, error: BaseException | None = None) -> None:
        if self.pieces is not None:
            self.pieces.put_nowait(None)
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Asker(Protocol):
    """Who asks, as a request sees it."""

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def manner(self) -> Manner: ...

    def gave(self, choices: int) -> None:
        """The endpoint gave fewer choices than it was asked for: so many."""
        ...


class Batch:
    """A request for one or several members, and further ones for those it left without a reply."""

    def __init__(self, asker: Asker, members: Sequence[Member]) -> None:
        self._asker = asker
        self._members = list(members)
        self._task = asyncio.get_running_loop().create_task(self._run(self._members))

    def leave(self) -> None:
        """Stop when nobody waits any more."""
        if not any(member.waiting for member in self._members):
            self._task.cancel()

    async def _run(self, members: Sequence[Member]) -> None:
        try:
            await self._serve(members)
        except NotFound as error:
            asker = self._asker
            ours = await explained(error, asker.endpoint, asker.manner.model)
            self._fail(members, ours)
        except Exception as error:
            self._fail(members, error)  # each member's to raise

    def _fail(self, members: Sequence[Member], error: Exception) -> None:
        for member in members:
            member.settle(error)

    async def _serve(self, members: Sequence[Member]) -> None:
        await persist(
            self._asker.endpoint,
            members[0].path,
            lambda: self._attempt(members),
            lambda: not any(m.pieces is not None and m.growing.text for m in members),
        )
        missing = [m for m in members if m.waiting and not m.growing.touched]
        if missing:
            self._asker.gave(len(members) - len(missing))
            most = self._asker.manner.abilities.choices
            parts = [missing[i : i + most] for i in range(0, len(missing), most)]
            await asyncio.gather(*map(self._run, parts))

    async def _attempt(self, members: Sequence[Member]) -> None:
        self._begin(members)
        path, body = self._body(members)
        told: Told | None = None
        if "stream" in body:
            async with aclosing(pieces(self._asker.endpoint, path, body)) as replies:
                async for reply in replies:
                    told = reply.usage or told
                    self._feed(reply, members)
        else:
            reply = await ask(self._asker.endpoint, path, body)
            told = reply.usage
            self._feed(reply, members)
        self._end(told, members)

    def _begin(self, members: Sequence[Member]) -> None:
        """Forget what a broken attempt gave, and charge for it."""
        for place, member in enumerate(members):
            if member.growing.touched:
                member.reckon(None, None)
                member.charged = False
            member.growing.reset()
            member.first = place == 0

    def _body(self, members: Sequence[Member]) -> tuple[str, Body]:
        manner, first = self._asker.manner, members[0]
        path, body = request(manner, first.history, first.params)
        if manner.abilities.seed:
            body["seed"] = first.seed
        if len(members) > 1:
            body["n"] = len(members)
        if manner.abilities.stream and any(m.live for m in members):
            body["stream"] = True
            if manner.abilities.usage:
                body["stream_options"] = {"include_usage": True}
        return path, body

    def _feed(self, reply: Reply, members: Sequence[Member]) -> None:
        for place, choice in enumerate(reply.choices):
            index = choice.index if choice.message is None else place  # some number all of them 0
            if 0 <= index < len(members):
                member = members[index]
                piece = member.growing.feed(choice)
                if piece and member.pieces is not None:
                    member.pieces.put_nowait(piece)

    def _end(self, told: Told | None, members: Sequence[Member]) -> None:
        came = [member for member in members if member.growing.touched]
        if not came:
            raise EndpointError(
                f"{self._asker.manner.name}: the reply has no choices", retryable=True
            )
        for member in came:
            member.growing.check()
        parts: list[int] | list[None] = [None] * len(came)
        if told is not None:
            weights = [len(m.growing.logprobs) or len(m.growing.text) + 1 for m in came]
            parts = shares(told.completion_tokens, weights)
        for member, part in zip(came, parts, strict=True):
            if member.waiting:
                member.reckon(told, part)
            member.settle()


class Gathering:
    """Puts members that come in the same turn of the event loop into one request."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._groups: dict[object, list[tuple[int, Member]]] = {}
        self._batches: dict[Member, Batch] = {}

    def enter(self, member: Member, place: int, group: object | None) -> None:
        """`group` is equal for members that ask the same; None asks alone."""
        if group is None or self._asker.manner.abilities.choices == 1:
            self._batches[member] = Batch(self._asker, [member])
            return
        if group not in self._groups:
            asyncio.get_running_loop().call_soon(self._start, group)
        self._groups.setdefault(group, []).append((place, member))

    def leave(self, member: Member) -> None:
        """The member waits no more."""
        member.done.cancel()
        batch = self._batches.pop(member, None)
        if batch is not None:
            batch.leave()

    def _start(self, group: object) -> None:
        entered = sorted(self._groups.pop(group), key=lambda entry: entry[0])
        waiting = [(place, member) for place, member in entered if member.waiting]
        for members in runs(waiting, self._asker.manner.abilities):
            batch = Batch(self._asker, members)
            self._batches.update(dict.fromkeys(members, batch))


def runs(entered: Sequence[tuple[int, Member]], abilities: Abilities) -> list[list[Member]]:
    """Members a request, in order: as many as it may ask for, and where seeds make a ladder, only
    neighbours.
    """
    made: list[list[Member]] = []
    last = -2
    for place, member in entered:
        apart = abilities.seed and abilities.ladder and place != last + 1
        if not made or apart or len(made[-1]) >= abilities.choices:
            made.append([])
        made[-1].append(member)
        last = place
    return made


async def ended(
    what: asyncio.Future[str | None] | asyncio.Future[None], member: Member, left: float | None
) -> bool:
    """Wait for a piece or the end of a reply; False when `left` seconds passed first."""
    if left is None:
        await what
        return True
    done, _ = await asyncio.wait([what, member.done], timeout=left, return_when="FIRST_COMPLETED")
    if not done:
        what.cancel()
        return False
    await what
    return True
