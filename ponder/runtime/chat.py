"""Chats that are more than turns of text: tools on offer, calls of them, and what else a request
says of the reply it wants.

Everything is kept in the form of OpenAI's chat request, which templates are written for too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.errors import CapabilityError
from ponder.runtime.values import Message, Prompt, Tokens

Fields = Mapping[str, Any]  # Any: JSON

TOOLS = "tools"
ENDPOINT_FIELDS = frozenset({TOOLS, "tool_choice", "parallel_tool_calls", "response_format"})
"""What an endpoint is told, and refuses in its own words where it cannot."""

_WHY: Mapping[str, str] = {
    TOOLS: "takes no tools, and no turns that call or answer them: its chat template does not "
    "write them, or writes calls in a form that is not read here (Hermes, as Qwen has it, is); "
    "take a model that was trained for tools, or leave them out",
    "tool_choice": "cannot be made to call a tool; leave tool_choice out, or give 'auto' or 'none'",
    "parallel_tool_calls": "cannot be held to one call at a time; leave parallel_tool_calls out",
    "response_format": "is not held to a format by a chat's response_format, but by "
    "Sampling.grammar; give that",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(Sequence[Message]):
    """A prompt of turns that also says more: an engine obeys all of it or refuses."""

    messages: tuple[Message, ...]
    fields: Fields = field(default_factory=dict[str, Any])
    """Of OpenAI's chat request, in its form: those that `Capabilities.chat` names."""

    @classmethod
    def of(cls, turns: Sequence[Message]) -> Chat:
        return turns if isinstance(turns, Chat) else cls(messages=tuple(turns))

    @property
    def tools(self) -> Sequence[Fields]:
        """`{"type": "function", "function": {"name", "description", "parameters"}}` each."""
        return self.fields.get(TOOLS) or ()

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...

    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.messages)


def turn(message: Message) -> dict[str, Any]:  # Any: JSON
    """A turn in OpenAI's form; what it does not say is left out."""
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name:
        made["name"] = message.name
    if message.tool_call_id:
        made["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return made


def offers_tools(prompt: Prompt) -> bool:
    return isinstance(prompt, Chat) and bool(prompt.tools)


def unmet(prompt: Prompt, capabilities: Capabilities) -> str | None:
    """The first field of a prompt that an engine does not obey; turns with tools in them need
    `tools`.
    """
    if isinstance(prompt, str | Tokens):
        return None
    needs = set(prompt.fields) if isinstance(prompt, Chat) else set[str]()
    if any(m.role == "tool" or m.tool_calls for m in prompt):
        needs.add(TOOLS)
    return min(needs - capabilities.chat, default=None)


def chat_refusal(name: str, field: str) -> str:
    """Why the engine of that name does not obey a field, and what to do."""
    why = _WHY.get(field, f"does not obey {field!r}; known: {', '.join(sorted(_WHY))}")
    return f"model {name!r} {why}"


def check_chat(prompt: Prompt, capabilities: Capabilities, name: str) -> None:
    """Raises `CapabilityError` where the engine does not obey all that a prompt says."""
    field = unmet(prompt, capabilities)
    if field is not None:
        raise CapabilityError(chat_refusal(name, field))
