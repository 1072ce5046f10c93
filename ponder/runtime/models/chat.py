"""Renders chat turns with a model's own Jinja template.

Templates come with models and are not trusted: they run in Jinja's immutable sandbox and see
nothing but the turns, the tools and the names of special tokens. Settings follow what templates on
the hub are written for: trimmed blocks, loop controls, `raise_exception`, a plain `tojson`. No
clock, so a prompt is the same tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import jinja2
import jinja2.sandbox

from ponder.runtime.chat import turn
from ponder.runtime.errors import InputError
from ponder.runtime.seeds import BranchPath
from ponder.runtime.tool_calls import read_calls
from ponder.runtime.values import Message, ToolCall

Json = dict[str, Any]  # Any: JSON

_TOOL: Json = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}
_ASKED = Message(role="user", content="What is it?")
_CALLED = Message(
    role="assistant",
    content="",
    tool_calls=(ToolCall(id="call_1", name="look_up", arguments='{"what": "it"}'),),
)
_ANSWERED = Message(role="tool", content="It is a quince.", tool_call_id="call_1", name="look_up")

# What an expression inside a template can raise besides Jinja's own errors.
_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class ChatTemplate:
    """A compiled template."""

    def __init__(self, source: str, *, names: Mapping[str, str], where: str) -> None:
        """`names` are the special tokens the template may write, such as `bos_token`."""
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        functions: dict[str, Any] = {"raise_exception": _refuse}  # Any: jinja2 types its own only
        environment.globals.update(functions)
        self.source = source
        self._names = dict(names)
        self._where = where
        try:
            self._template = environment.from_string(source)
        except _FAULTS as error:
            raise InputError(
                f"{where}: the chat template cannot be compiled: {error}; give raw text as prompt, "
                "or another model"
            ) from error

    @cached_property
    def tools(self) -> bool:
        """Whether tools reach the model, and calls come back in the form that is read here: shown
        a call that was made, the template writes one that can be read, and the tool's answer.
        """
        turns = chat_turns([_ASKED, _CALLED, _ANSWERED])
        try:
            offer, whole = self.render(turns[:1], [_TOOL]), self.render(turns, [_TOOL])
        except InputError:
            return False
        read = [(c.name, c.arguments) for c in read_calls(whole, BranchPath(0), 0)]
        (call,) = _CALLED.tool_calls
        known = (call.name, call.arguments) in read
        return known and call.name in offer and _ANSWERED.content in whole

    def render(self, turns: Sequence[Json], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The turns (as `chat_turns` makes them) as text, opened for the assistant's reply."""
        try:
            return self._template.render(
                messages=list(turns),
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=True,
                **self._names,
            )
        except _FAULTS as error:
            roles = [t["role"] for t in turns]
            raise InputError(
                f"{self._where}: the chat template refuses turns {roles!r}: {error}"
            ) from error


def chat_turns(messages: Sequence[Message]) -> list[Json]:
    """Turns as templates want them: in OpenAI's form, but arguments of calls are objects.

    Raises:
        InputError: arguments are no JSON object.
    """
    turns = [turn(message) for message in messages]
    for made in turns:
        for call in made.get("tool_calls", ()):
            call["function"]["arguments"] = _arguments(call)
    return turns


def _arguments(call: Json) -> object:
    text = call["function"]["arguments"]
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"call {call['id']!r} of tool {call['function']['name']!r} has arguments {text!r}; "
            "give a JSON object"
        )
    return found  # pyright: ignore[reportUnknownVariableType]


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
