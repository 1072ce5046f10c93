"""A branch of the scripted engine: a list of code points, drawn one at a time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from ponder.runtime.confidence import check_confidence, confidence_of
from ponder.runtime.errors import (
    CapabilityError,
    ContextOverflow,
    InputError,
    ModelError,
    unknown,
)
from ponder.runtime.gate import Gate
from ponder.runtime.listed import Listed
from ponder.runtime.picking import FULL, Choose, picked
from ponder.runtime.script import (
    END,
    VOCABULARY,
    logits_of,
    next_token,
    parted,
    pick,
    row_of,
    spell,
    truncate,
)
from ponder.runtime.scripted_constraint import Constraint
from ponder.runtime.standing import Origin
from ponder.runtime.tokens import check_range, constrained_from, moved
from ponder.runtime.tool_calls import with_calls
from ponder.runtime.values import (
    Delta,
    Finish,
    Logits,
    Pooling,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Tokens,
    Usage,
)

if TYPE_CHECKING:
    from ponder.runtime.scripted import ScriptedEngine


class ScriptedBranch(Listed):
    """A `Branch` of a `ScriptedEngine`: a list of code points."""

    resent = 0

    def __init__(
        self,
        engine: ScriptedEngine,
        origin: Origin,
        tokens: list[int],
        prompt_length: int,
        charge: Usage,
        parent: ScriptedBranch | None = None,
        *,
        own: int = 0,
        flat: bool = False,
        tools: bool = False,
    ) -> None:
        """A `flat` one was given tokens, which do not say where a prompt ends: a reply begins where
        the last assistant's turn does. With `tools` on offer, calls are read out of replies.
        """
        self.path = origin.path
        self.usage = charge
        self._origin = origin
        self._engine = engine
        self._tokens = tokens
        self._prompt = prompt_length
        self._parent = parent
        self._own = own
        self._gate = Gate(self.path, engine.name, engine.check_open)
        self.pin, self.unpin = self._gate.pin, self._gate.unpin
        self._flat: bool = parent._flat if parent else flat
        self._tools: bool = parent._tools if parent else tools
        engine.adopt(+1)

    @property
    def text(self) -> str:
        return spell(self._tokens[self._prompt :])

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Self]:
        self._gate.check("fork")
        engine, own = self._engine, len(self._tokens)
        return [
            type(self)(engine, origin, list(self._tokens), self._prompt, Usage(), self, own=own)
            for origin in self._origin.fork(n, first, name)
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        async for delta in self.stream(params, deadline=deadline):
            if delta.segment is not None:
                return delta.segment
        raise ModelError("the stream ended without a segment")

    async def stream(
        self, params: Sampling, *, deadline: float | None = None
    ) -> AsyncIterator[Delta]:
        with self._gate.call("extend"):
            check_confidence(self._engine.name, params.confidence, VOCABULARY)
            start = len(self._tokens)
            constraint = self._constraint(params)
            logprobs: list[float] = []
            confidences: list[float] = []
            finish = None
            try:
                while finish is None:
                    finish = self._before(params, len(logprobs), deadline)
                    if finish is not None:
                        break
                    model = self._next()
                    token = self._draw(model, params, constraint)
                    self._tokens.append(token)
                    logprobs.append(math.log(model[token]))
                    if params.confidence:
                        told = map(math.log, model.values())
                        confidences.append(confidence_of(told, params.confidence))
                    self._charge(Usage(decoded=1))
                    if token != END:
                        yield Delta(text=chr(token))
                    finish = self._after(params, self._tokens[start:])
                await self._engine.pause(self.path, len(logprobs))
            except ModelError:
                del self._tokens[start:]
                raise
        yield Delta(text="", segment=self._segment(start, logprobs, confidences, finish))

    def _before(self, params: Sampling, drawn: int, deadline: float | None) -> Finish | None:
        """Why no further token is drawn."""
        self._engine.check_open()
        if not self._gate.open:
            return Finish.CANCELLED
        if drawn >= min(params.max_tokens, self._engine.context_length - len(self._tokens) + drawn):
            return Finish.LENGTH
        late = deadline is not None and self._engine.clock() >= deadline
        return Finish.BUDGET if late else None

    def _after(self, params: Sampling, drawn: Sequence[int]) -> Finish | None:
        """What the last token has ended."""
        if drawn[-1] == END:
            return Finish.EOS
        ended = any(spell(drawn[-len(stop) :]) == stop for stop in params.stop)
        return Finish.STOP if ended else None

    def _segment(
        self, start: int, logprobs: Sequence[float], confidences: Sequence[float], finish: Finish
    ) -> Segment:
        segment = Segment(
            text=spell(drawn := tuple(self._tokens[start:])),
            tokens=drawn,
            logprobs=tuple(logprobs),
            finish=finish if self._gate.open else Finish.CANCELLED,
            usage=Usage(decoded=len(drawn)),
            confidences=tuple(confidences),
        )
        return with_calls(segment, self.path, start) if self._tools else segment

    async def draw(self, choose: Choose) -> Segment:
        with self._gate.call("draw on"):
            if len(self._tokens) >= self._engine.context_length:
                return FULL
            await self._engine.pause(self.path, 1)
            row = row_of(self._next())
            token = await choose(row)
            self._gate.check_open()
            segment = picked(token, row, (END,), spell)
            self._tokens += segment.tokens
            self._charge(segment.usage)
        return segment

    async def append(self, text: str) -> None:
        self._gate.check("append to")
        self._put(len(self._tokens), [ord(c) for c in text], "appending")

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        with self._gate.call("score"):
            results = [self._score(each) for each in continuations]
            self._charge(Usage(scored=sum(len(r.tokens) for r in results)))
            await self._engine.pause(self.path, 0)
        return results

    async def logits(self) -> Logits:
        return (await self.span_logits(len(self._tokens) - 1, len(self._tokens)))[0]

    async def span_logits(self, start: int, stop: int) -> list[Logits]:
        self._gate.check("read logits of")
        least = 0 if self._flat else self._prompt - 1
        if not least <= start < stop <= len(self._tokens):
            raise InputError(
                f"tokens {start!r} to {stop!r} of {len(self._tokens)}; give {least} <= "
                "start < stop: a script says nothing of the prompt itself"
            )
        self._charge(Usage(scored=stop - start))
        return [logits_of(self._next(end=end)) for end in range(start + 1, stop + 1)]

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        with self._gate.call("read"):
            if head not in self._engine.heads:
                known = unknown("head", head, self._engine.heads)
                raise CapabilityError(f"engine {self._engine.name!r}: {known}")
            ends = range(len(self._tokens))[start if start is not None else -1 :]
            self._charge(Usage(scored=len(ends)))
            await self._engine.pause(self.path, 0)
        return [self._engine.heads[head](spell(self._tokens[: end + 1])) for end in ends]

    async def embed(self, pooling: Pooling = "mean", start: int = 0) -> tuple[float, ...]:
        self._gate.check("embed")
        raise CapabilityError(f"engine {self._engine.name!r} is a script: it has no hidden states")

    async def splice(
        self, start: int, stop: int, text: str = "", mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("splice", mode)
        check_range(start, stop, len(self._tokens), len(text))
        if start == stop and not text:
            return
        self._put(start, [*(ord(c) for c in text), *self._tokens[stop:]], "splicing")
        self._prompt, self._own = (
            moved(border, start, stop, len(text)) for border in (self._prompt, self._own)
        )

    async def join(
        self, others: Sequence[ScriptedBranch], mode: SpliceMode = SpliceMode.REENCODE
    ) -> None:
        self._gate.check_edit("join others to", mode)
        for other in others:
            other._gate.check("join")
        forks = all(other._parent is self for other in others)
        self._gate.check_kin([other.path for other in others], forks=forks)
        tails = [token for other in others for token in other.tail]
        self._put(len(self._tokens), tails, "joining")

    def share(self, others: Sequence[ScriptedBranch]) -> None:
        raise self._gate.no_live_views()

    def close(self) -> None:
        if self._gate.close():
            self._engine.adopt(-1)

    def _put(self, start: int, tokens: Sequence[int], action: str) -> None:
        """These tokens in place of all from `start` on."""
        self._fit(start, len(tokens), action)
        self._tokens[start:] = tokens
        self._charge(Usage(prompt=len(tokens)))

    def _fit(self, start: int, given: int, action: str) -> None:
        context = self._engine.context_length
        if given > 0 and start + given >= context:
            raise ContextOverflow(
                f"{action} {given} tokens to {start} overflows the context of {context}: shorten "
                "one of them"
            )

    def _charge(self, usage: Usage) -> None:
        self.usage += usage
        self._engine.charge(usage)

    def _next(self, extra: str = "", *, end: int | None = None) -> dict[int, float]:
        if self._flat:
            prompt, said = parted(spell(self._tokens[:end]) + extra)
        else:
            prompt = spell(self._tokens[: self._prompt])
            said = spell(self._tokens[self._prompt : end]) + extra
        return next_token(self._engine.script, prompt, said)

    def _score(self, given: str | Tokens) -> Scored:
        tokens, logprobs = self._engine.encode(given), list[float]()
        self._fit(len(self._tokens), len(tokens) - 1, "scoring")
        for i, token in enumerate(tokens):
            p = self._next(spell(tokens[:i])).get(token, 0.0)
            logprobs.append(math.log(p) if p else -math.inf)
        return Scored(tokens=tuple(tokens), logprobs=tuple(logprobs))

    def _constraint(self, params: Sampling) -> Constraint | None:
        if params.grammar is None:
            return None
        start = constrained_from(params, len(self._tokens))
        return Constraint(self._engine.vocabulary(), params.grammar, self._tokens[start:])

    def _draw(
        self, model: Mapping[int, float], params: Sampling, constraint: Constraint | None
    ) -> int:
        """Inverse CDF over token ids, as the own engine does it."""
        kept = truncate(model if constraint is None else constraint.restricted(model), params)
        if not kept:
            raise InputError("every token the script allows is forbidden by `bias`")
        token = pick(kept, self.path.uniform(len(self._tokens)))
        if constraint is not None:
            constraint.push(token)
        return token
