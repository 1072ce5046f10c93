"""From a request to the events that answer it: finds what `model` names, and reads its settings."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import Any

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.expression import Expression
from ponder.orchestrator.notation import from_data
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.decoding import Decoding, decode
from ponder.orchestrator.server.events import Event
from ponder.orchestrator.server.refusals import invalid
from ponder.orchestrator.server.requests import ChatRequest, CompletionRequest, Limits
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.server.thinking import Thinking, think, with_sampling
from ponder.orchestrator.solving import Runtime
from ponder.runtime import BranchPath, Engine, Prompt, Sampling, unknown
from ponder.verifiers import Question

Asked = ChatRequest | CompletionRequest


class Answering:
    """Engines, strategies and limits of one server."""

    def __init__(self, runtime: Runtime, catalogue: Catalogue, settings: ServerSettings) -> None:
        self._runtime = runtime
        self._catalogue = catalogue
        self._settings = settings

    def seed(self, asked: Asked) -> int:
        return secrets.randbits(53) if asked.seed is None else asked.seed

    def events(self, asked: Asked, seed: int) -> AsyncGenerator[Event]:
        """What answers `asked`; nothing has been spent yet.

        Raises:
            Refusal: it names nothing here, or asks for more than the server gives.
        """
        most = self._settings.most_choices
        if asked.n > most:
            raise invalid(f"n is {asked.n!r}; this server takes 1 to {most}", field="n")
        strategy, engine = self._named(asked)
        if strategy is not None:
            return think(self._runtime, self._thinking(asked, strategy, seed))
        return decode(engine, self._decoding(asked, engine, seed))

    def _named(self, asked: Asked) -> tuple[Expression | None, Engine]:
        """A strategy, or None and an engine; a request's own strategy goes before its model."""
        offered, name = self._catalogue, asked.model
        engine = offered.engines.get(name, next(iter(offered.engines.values())))
        own = asked.ponder.strategy
        if isinstance(own, dict):
            return from_data(own, "ponder.strategy"), engine
        if own is not None:
            if own not in offered.strategies:
                raise invalid(unknown("strategy", own, offered.strategies), field="ponder.strategy")
            return offered.strategies[own], engine
        return offered.strategies.get(name), engine

    def _thinking(self, asked: Asked, strategy: Expression, seed: int) -> Thinking:
        if asked.wants_scores:
            raise invalid("a strategy gives no log-probabilities of tokens", field="logprobs")
        if asked.logit_bias:
            raise invalid("a strategy takes no logit_bias", field="logit_bias")
        changes: dict[str, object] = {
            name: value
            for name, value in (
                ("temperature", asked.temperature),
                ("top_p", asked.top_p),
                ("max_tokens", asked.limit),
            )
            if value is not None
        }
        return Thinking(
            question=_question(asked),
            strategy=with_sampling(strategy, changes),
            budget=self._budget(asked.ponder.budget),
            choices=asked.n,
            seed=seed,
            stops=asked.stops,
        )

    def _budget(self, limits: Limits) -> Budget:
        most = self._settings.most_tokens
        if limits.tokens is not None and limits.tokens > most:
            raise invalid(
                f"ponder.budget.tokens is {limits.tokens!r}; this server gives {most} at most",
                field="ponder.budget.tokens",
            )
        return Budget(tokens=limits.tokens or most, seconds=limits.seconds, calls=limits.calls)

    def _decoding(self, asked: Asked, engine: Engine, seed: int) -> Decoding:
        if asked.ponder.budget != Limits() or asked.ponder.instruction is not None:
            raise invalid(
                f"{asked.model!r} is a plain model, and ponder.budget and ponder.instruction are "
                "for strategies; name one as `model`",
                field="ponder",
            )
        prompt = _prompt(asked)
        context = engine.capabilities.context_length
        room = self._settings.most_tokens if context is None else context - engine.count(prompt)
        return Decoding(
            prompt=prompt,
            sampling=Sampling(
                max_tokens=max(1, min(asked.limit or room, self._settings.most_tokens)),
                temperature=1.0 if asked.temperature is None else asked.temperature,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                stop=asked.stops,
                bias=_bias(asked),
            ),
            choices=asked.n,
            path=BranchPath(seed, ("serve",)),
            scores=asked.wants_scores,
        )


def _prompt(asked: Asked) -> Prompt:
    if isinstance(asked, CompletionRequest):
        return asked.text
    return [turn.message() for turn in asked.messages]


def _question(asked: Asked) -> Question:
    settings: dict[str, Any] = {}  # Any: keyword arguments
    if asked.ponder.instruction is not None:
        settings["instruction"] = asked.ponder.instruction
    if isinstance(asked, CompletionRequest):
        return Question(text=asked.text, **settings)
    *before, last = (turn.message() for turn in asked.messages)
    return Question(text=last.content, history=tuple(before), **settings)


def _bias(asked: Asked) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(token), nats) for token, nats in (asked.logit_bias or {}).items())
    except ValueError as error:
        raise invalid(
            f"logit_bias has a key that is no token id: {error}", field="logit_bias"
        ) from error
