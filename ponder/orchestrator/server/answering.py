"""From a request to the events that answer it: finds what `model` names, and reads its settings."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.expression import Expression
from ponder.orchestrator.notation import from_data
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.decoding import Decoding, decode
from ponder.orchestrator.server.events import Event
from ponder.orchestrator.server.formats import check_grammar, field_of, grammar_of, passes_on
from ponder.orchestrator.server.refusals import Refusal, invalid
from ponder.orchestrator.server.requests import ChatRequest, CompletionRequest, Limits
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.server.thinking import Thinking, takes, think, with_sampling
from ponder.orchestrator.server.tokenizing import JSON, Tokenizing, tokenized
from ponder.orchestrator.solving import Runtime
from ponder.runtime import Chat, Engine, InputError, Prompt, Sampling, Tokens, unknown
from ponder.verifiers import Question

Asked = ChatRequest | CompletionRequest


class Answering:
    """Engines, strategies and limits of one server."""

    def __init__(self, runtime: Runtime, catalogue: Catalogue, settings: ServerSettings) -> None:
        self._runtime = runtime
        self._catalogue = catalogue
        self._settings = settings

    def tokenizing(self, asked: Tokenizing) -> Coroutine[Any, Any, JSON]:
        """The tokens of a text or a chat; raises `Refusal` where a strategy is asked."""
        engine = self._catalogue.engines.get(asked.model)
        if engine is None:
            raise invalid(
                f"{asked.model!r} is a strategy and has no tokens of its own; name a model of "
                "owned_by 'ponder-engine' (GET /v1/models)",
                field="model",
            )
        return tokenized(asked, engine)

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
        _check_thinking(asked)
        return Thinking(
            question=_question(asked),
            strategy=with_sampling(strategy, _changes(asked, strategy)),
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
        _check_scores(asked, engine)
        prompt, begun = _prompt(asked, engine)
        echo = ""
        if isinstance(asked, CompletionRequest) and asked.echo:
            echo = _spelt(asked.given, engine)
        return Decoding(
            prompt=prompt,
            begun=begun,
            sampling=None if asked.limit == 0 else self._sampling(asked, engine, prompt),
            choices=asked.n,
            seed=seed,
            live=asked.stream,
            scores=asked.wants_scores,
            likeliest=asked.likeliest,
            echo=echo,
            tools=isinstance(prompt, Chat) and bool(prompt.tools),
        )

    def _sampling(self, asked: Asked, engine: Engine, prompt: Prompt) -> Sampling:
        most, context = self._settings.most_tokens, engine.capabilities.context_length
        # Counting reads the whole prompt; an engine ends at its context by itself.
        if asked.limit is None and context is not None:
            most = max(1, min(most, context - engine.count(prompt)))
        grammar = grammar_of(asked)
        if passes_on(asked, engine.capabilities):
            grammar = None
        check_grammar(grammar, engine.capabilities, asked.model, field_of(asked))
        return Sampling(
            max_tokens=min(asked.limit or most, most),
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            top_k=asked.most,
            min_p=asked.min_p or 0.0,
            stop=asked.stops,
            bias=_bias(asked),
            grammar=grammar,
        )


def _changes(asked: Asked, strategy: Expression) -> dict[str, object]:
    """Sampling settings that a request gives; raises `Refusal` for one that no step has."""
    given = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.most,
        "min_p": asked.min_p,
        "max_tokens": asked.limit,
    }
    changes: dict[str, object] = {k: v for k, v in given.items() if v is not None}
    for name in changes:
        if not takes(strategy, name):
            raise invalid(
                f"no step of {asked.model!r} has a setting {name}; leave it out", field=name
            )
    return changes


def _check_thinking(asked: Asked) -> None:
    """Raises `Refusal` for what a strategy, which weighs whole replies, cannot do."""
    if asked.wants_scores:
        raise invalid("a strategy gives no log-probabilities of tokens", field="logprobs")
    if asked.logit_bias:
        raise invalid("a strategy takes no logit_bias", field="logit_bias")
    if asked.echoes:
        raise invalid("a strategy answers, and echoes nothing", field="echo")
    if (grammar := grammar_of(asked)) is not None and grammar.kind != "json_schema":
        raise invalid(
            f"a strategy answers with text or with JSON, not with a {grammar.kind} grammar",
            field=field_of(asked),
            code="unsupported",
        )
    if not isinstance(asked, ChatRequest):
        return
    for name in asked.fields.keys() - {"response_format"}:
        raise invalid(
            f"{asked.model!r} is a strategy, which weighs replies of plain text; send {name} to a "
            "model of owned_by 'ponder-engine' (GET /v1/models)",
            field=name,
            code="unsupported",
        )
    if asked.messages[-1].role != "user":
        raise invalid(
            f"the last message is the {asked.messages[-1].role}'s; a strategy answers the user's",
            field="messages",
        )


def _check_scores(asked: Asked, engine: Engine) -> None:
    """Raises `Refusal` where the engine does not tell what is asked for."""
    able, name = engine.capabilities, asked.model
    if asked.wants_scores and not (able.logprobs and able.token_ids):
        raise _untold(name, "log-probabilities of single tokens", "logprobs")
    if asked.wants_scores and asked.echoes and not able.prompt_logprobs:
        raise _untold(name, "log-probabilities of given text", "echo")
    if asked.likeliest and not able.logits:
        raise _untold(name, "log-probabilities of other tokens", "top_logprobs")


def _untold(name: str, what: str, field: str) -> Refusal:
    return invalid(
        f"model {name!r} tells no {what}; leave {field} out", field=field, code="unsupported"
    )


def _prompt(asked: Asked, engine: Engine) -> tuple[Prompt, str]:
    """The prompt, and how the reply begins already."""
    if isinstance(asked, CompletionRequest):
        _check_tokens(asked, engine)
        return asked.given, ""
    fields = asked.fields
    if fields.get("tool_choice") == "none" and "tool_choice" not in engine.capabilities.chat:
        fields = {k: v for k, v in fields.items() if k == "response_format"}
    if not passes_on(asked, engine.capabilities):
        fields = {k: v for k, v in fields.items() if k != "response_format"}
    return asked.chat(engine, asked.model, fields), asked.begun


def _check_tokens(asked: CompletionRequest, engine: Engine) -> None:
    """Raises `Refusal` for a prompt of tokens that the engine cannot read."""
    if not isinstance(asked.given, Tokens):
        return
    if not engine.capabilities.token_ids:
        raise invalid(
            f"model {asked.model!r} is behind an endpoint and takes no tokens here; give text",
            field="prompt",
            code="unsupported",
        )
    try:
        engine.encode(asked.given)
    except InputError as error:
        raise invalid(str(error), field="prompt") from error


def _spelt(prompt: str | Tokens, engine: Engine) -> str:
    return prompt if isinstance(prompt, str) else engine.spell(prompt.ids)


def _question(asked: Asked) -> Question:
    settings: dict[str, Any] = {}  # Any: keyword arguments
    if asked.ponder.instruction is not None:
        settings["instruction"] = asked.ponder.instruction
    if (grammar := grammar_of(asked)) is not None:
        settings["form"] = grammar.text
    if isinstance(asked, CompletionRequest):
        if isinstance(asked.given, Tokens):
            raise invalid("prompt is made of tokens; a strategy takes text", field="prompt")
        return Question(text=asked.given, **settings)
    *before, last = (turn.message() for turn in asked.messages)
    return Question(text=last.content, history=tuple(before), **settings)


def _bias(asked: Asked) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(token), nats) for token, nats in (asked.logit_bias or {}).items())
    except ValueError as error:
        raise invalid(
            f"logit_bias has a key that is no token id: {error}", field="logit_bias"
        ) from error
