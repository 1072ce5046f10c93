"""Steps of texts that must fit potentials, drawn token by token."""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ponder.runtime import Branch, BudgetExceeded, Finish, Row, Sampling, Segment, Usage, Vocabulary
from ponder.strategies.fitting.proposals import Rule
from ponder.strategies.fitting.rejection import Proposal
from ponder.strategies.uniforms import Uniforms
from ponder.verifiers import Guide, Potential


@dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """Where a text stands: all guides, and what it spells."""

    guides: tuple[Guide, ...]
    spelt: bytes = b""

    @property
    def text(self) -> str:
        """Without a character that is not finished."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(self.spelt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A step that was drawn."""

    segment: Segment
    stood: Stood
    log_weight: float
    checks: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitting:
    """What all texts of one search must fit, and how their tokens are proposed."""

    potentials: Sequence[Potential]
    vocabulary: Vocabulary
    rule: Rule

    def begin(self) -> Stood:
        """Raises `InputError` where a potential cannot be used with this vocabulary."""
        return Stood(guides=tuple(p.begin(self.vocabulary) for p in self.potentials))

    async def follow(self, tokens: Sequence[int]) -> Stood:
        """Where these tokens lead from the beginning."""
        stood = self.begin()
        for token in tokens:
            stood = await self._after(stood, token)
        return stood

    async def step(self, branch: Branch, stood: Stood, params: Sampling, *, rest: int) -> Fitted:
        """One step of at most `params.max_tokens` tokens, of a text that may have `rest` more.

        Raises:
            BudgetExceeded: not even one token could be drawn.
            InputError: a potential failed.
        """
        drawing = _Drawing(fitting=self, branch=branch, stood=stood)
        finish = Finish.LENGTH
        for place in range(params.max_tokens):
            try:
                finish = await drawing.token(last=place + 1 == rest)
            except BudgetExceeded:
                if not place:
                    raise
                finish = Finish.BUDGET
            if finish is not Finish.LENGTH or drawing.dead:
                break
            if drawing.said(stood.text).endswith(params.stop) and params.stop:
                finish = Finish.STOP
                break
        return drawing.fitted(stood.text, finish)

    async def _after(self, stood: Stood, token: int) -> Stood:
        guides = [await guide.after(token) for guide in stood.guides]
        return Stood(
            guides=tuple(guides), spelt=stood.spelt + (self.vocabulary.spelling(token) or b"")
        )

    async def moved(self, stood: Stood, token: int) -> Stood:
        return stood if token in self.vocabulary.ends else await self._after(stood, token)


@dataclass(slots=True, kw_only=True, eq=False)
class _Drawing:
    fitting: Fitting
    branch: Branch
    stood: Stood
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    usage: Usage = Usage()
    log_weight: float = 0.0
    checks: int = 0

    @property
    def dead(self) -> bool:
        return self.log_weight == -math.inf

    def said(self, before: str) -> str:
        return self.stood.text[len(before) :]

    async def token(self, *, last: bool) -> Finish:
        made: list[Proposal] = []

        async def choose(row: Row) -> int | None:
            fitting, uniform = self.fitting, uniforms(self.branch)
            proposal = await fitting.rule.draw(
                row, self.stood.guides, fitting.vocabulary, uniform, last=last
            )
            made.append(proposal)
            return proposal.token

        segment = await self.branch.draw(choose)
        self.usage += segment.usage
        if not made:  # the context is full
            self.log_weight = -math.inf
            return segment.finish
        self.log_weight += made[0].log_weight
        self.checks += made[0].checks
        self.tokens += segment.tokens
        self.logprobs += segment.logprobs
        for token in segment.tokens:
            self.stood = await self.fitting.moved(self.stood, token)
        return segment.finish

    def fitted(self, before: str, finish: Finish) -> Fitted:
        segment = Segment(
            text=self.said(before),
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            finish=finish,
            usage=self.usage,
        )
        return Fitted(
            segment=segment, stood=self.stood, log_weight=self.log_weight, checks=self.checks
        )


def uniforms(branch: Branch) -> Uniforms:
    """The next token's draws: first the one that the engine would draw it with."""
    place = len(branch.tokens)
    further = branch.path.child("propose", place).draws()
    return lambda k: further(k) if k else branch.path.uniform(place)
