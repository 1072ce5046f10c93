"""How a branch's past and its sampling settings become the body of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ponder.runtime.chat import Chat, turn
from ponder.runtime.confidence import check_confidence
from ponder.runtime.errors import CapabilityError
from ponder.runtime.remote.abilities import Abilities, Prefix
from ponder.runtime.remote.formats import formatted
from ponder.runtime.remote.history import History
from ponder.runtime.tokens import constrained_from
from ponder.runtime.values import Sampling

Body = dict[str, Any]  # Any: JSON
CHAT, COMPLETIONS = "/chat/completions", "/completions"
RESTATEMENT = (
    "You have already written the beginning of your reply, which is between the two lines of "
    "dashes:\n---\n{said}\n---\nGo on exactly where it stops. Write only what comes next."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How one engine asks: the model, what its endpoint can do, what the user wants of it."""

    model: str
    name: str
    abilities: Abilities
    fallback: bool
    logprobs: bool

    @property
    def confidence(self) -> int:
        """Most tokens that a reply's confidence may be of."""
        return self.abilities.confidence if self.logprobs else 0

    def cuts(self, params: Sampling) -> bool:
        """Whether stop strings are ours to find."""
        return bool(params.stop) and not self.abilities.stop_told


def request(manner: Manner, history: History, params: Sampling) -> tuple[str, Body]:
    """Address and body, but for seed, `n` and streaming.

    Raises:
        CapabilityError: the endpoint cannot do what is asked.
    """
    path, body = _past(manner, history)
    abilities = manner.abilities
    for name, used in (("top_k", params.top_k is not None), ("min_p", params.min_p > 0)):
        if used and not getattr(abilities, name):
            raise CapabilityError(f"{manner.name!r} does not obey {name!r}; leave it out")
    check_confidence(manner.name, params.confidence, manner.confidence)
    if params.confidence and path == COMPLETIONS:
        raise CapabilityError(
            f"{manner.name!r} tells the confidence of replies to chat turns alone; give chat "
            "turns, or ask for none"
        )
    body |= {
        "model": manner.model,
        (abilities.limit if path == CHAT else "max_tokens"): params.max_tokens,
        "temperature": params.temperature,
    }
    extra: Body = {
        "top_p": params.top_p if params.top_p < 1 else None,
        "top_k": params.top_k,
        "min_p": params.min_p or None,
        "stop": list(params.stop) if params.stop and abilities.stop_told else None,
        "logit_bias": {str(t): max(-100.0, min(100.0, b)) for t, b in params.bias} or None,
    }
    if manner.logprobs:
        # Some tell none unless they are asked for others besides, if for none of them.
        chat = {"logprobs": True, "top_logprobs": params.confidence}
        extra |= chat if path == CHAT else {"logprobs": 1}
    extra |= _grammar(manner, history, params)
    return path, body | {k: v for k, v in extra.items() if v is not None}


def _grammar(manner: Manner, history: History, params: Sampling) -> Body:
    grammar = params.grammar
    if grammar is None:
        return {}
    way = dict(manner.abilities.grammars).get(grammar.kind)
    if way is None:
        raise CapabilityError(
            f"{manner.name!r} cannot hold a reply to a {grammar.kind} grammar; ask for the form in "
            "words, or take a model of Ponder's own engine"
        )
    if constrained_from(params, history.length) < history.length:
        raise CapabilityError(
            f"{manner.name!r} holds whole requests to a grammar, and cannot go on in the middle of "
            "a constrained text; draw it in one call, or take a model of Ponder's own engine"
        )
    return formatted(way, grammar)


def _past(manner: Manner, history: History) -> tuple[str, Body]:
    if isinstance(history.prompt, str):
        if not manner.abilities.completions:
            raise CapabilityError(
                f"{manner.name!r} takes no raw text (it has no /completions); give chat turns"
            )
        return COMPLETIONS, {"prompt": history.prompt + history.said}
    turns = [turn(message) for message in history.prompt]
    wishes = dict(Chat.of(history.prompt).fields)
    if not history.said:
        return CHAT, {"messages": turns, **wishes}
    prefix = manner.abilities.prefix
    if prefix is not None:
        return CHAT, {**continued(prefix, turns, history.said), **wishes}
    if not manner.fallback:
        raise CapabilityError(
            f"{manner.name!r} cannot go on from the beginning of a reply; take another engine, or "
            "let the beginning be restated in a user turn (--allow-fallback)"
        )
    return CHAT, {"messages": restated(turns, history.said), **wishes}


def continued(prefix: Prefix, turns: list[Body], said: str) -> Body:
    """Fields that ask for a begun reply to be continued."""
    begun: Body = {"role": "assistant", "content": said}
    if prefix is Prefix.FIELD:
        begun["prefix"] = True
    body: Body = {"messages": [*turns, begun]}
    if prefix is Prefix.CONTINUE:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def restated(turns: list[Body], said: str) -> list[Body]:
    """The turns with the begun reply told in the last user turn; two in a row confuse templates."""
    words = RESTATEMENT.format(said=said)
    if turns and turns[-1]["role"] == "user":
        return [*turns[:-1], {"role": "user", "content": f"{turns[-1]['content']}\n\n{words}"}]
    return [*turns, {"role": "user", "content": words}]
