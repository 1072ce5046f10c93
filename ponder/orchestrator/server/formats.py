"""What a request says of the form of its reply, in OpenAI's words and in vLLM's."""

from __future__ import annotations

import json

from ponder.orchestrator.server.refusals import invalid
from ponder.orchestrator.server.requests import ChatRequest, CompletionRequest
from ponder.orchestrator.server.turns import JSON
from ponder.runtime import Capabilities, Grammar

Asked = ChatRequest | CompletionRequest


def grammar_of(asked: Asked) -> Grammar | None:
    """What the reply must fit.

    Raises:
        Refusal: the request says it in a form that there is not, or twice.
    """
    found = [g for g in (_response_format(asked), _structured(asked)) if g is not None]
    if len(found) > 1:
        raise invalid(
            "response_format and structured_outputs both say what the reply must fit; send one",
            field="structured_outputs",
        )
    return found[0] if found else None


def passes_on(asked: Asked, able: Capabilities) -> bool:
    """Whether the engine is itself told of `response_format`, with its chat turns."""
    chat = isinstance(asked, ChatRequest) and asked.response_format is not None
    return chat and "response_format" in able.chat


def check_grammar(grammar: Grammar | None, able: Capabilities, model: str, field: str) -> None:
    """Raises `Refusal` where the engine cannot hold a reply to it."""
    if grammar is not None and grammar.kind not in able.grammars:
        known = ", ".join(sorted(able.grammars)) or "none"
        raise invalid(
            f"model {model!r} cannot be held to a {grammar.kind} grammar; it knows: {known}",
            field=field,
            code="unsupported",
        )


def field_of(asked: Asked) -> str:
    return "response_format" if asked.structured_outputs is None else "structured_outputs"


def _response_format(asked: Asked) -> Grammar | None:
    form = asked.response_format or {"type": "text"}
    if form.get("type") == "text":
        return None
    if form.get("type") == "json_object":
        return Grammar(kind="json_schema", text='{"type":"object"}')
    named: JSON = form["json_schema"] if isinstance(form.get("json_schema"), dict) else {}
    if form.get("type") == "json_schema" and isinstance(named.get("schema"), dict):
        return Grammar(kind="json_schema", text=json.dumps(named["schema"]))
    raise invalid(
        f"response_format is {form!r}; its type is 'text', 'json_object', or 'json_schema' with "
        "{'json_schema': {'name': ..., 'schema': {...}}}",
        field="response_format",
    )


def _structured(asked: Asked) -> Grammar | None:
    told = asked.structured_outputs
    if told is None:
        return None
    found: list[Grammar] = []
    if told.schema_ is not None:
        found.append(Grammar(kind="json_schema", text=json.dumps(told.schema_)))
    if told.regex is not None:
        found.append(Grammar(kind="regex", text=told.regex))
    if told.grammar is not None:
        found.append(Grammar(kind="lark", text=told.grammar))
    if len(found) != 1:
        raise invalid(
            f"structured_outputs says {len(found)} forms; give one of json, regex and grammar",
            field="structured_outputs",
        )
    return found[0]
