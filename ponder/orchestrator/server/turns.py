"""Chat turns and tools as clients send them, and the turns an engine is given.

What a client got as a reply it may send back as a turn: fields that only replies have are taken
where they say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ponder.orchestrator.server.refusals import Refusal, invalid
from ponder.runtime import TOOLS, Chat, Engine, Message, ToolCall, chat_refusal, unknown, unmet

JSON = dict[str, Any]  # Any: JSON


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(Strict):
    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    name: str
    arguments: str


class Call(Strict):
    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class Turn(Strict):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    # A reply has them.
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = Field(default=None, max_length=0)

    @property
    def text(self) -> str:
        parts = self.content or ""
        return parts if isinstance(parts, str) else "".join(part.text for part in parts)

    def message(self) -> Message:
        calls = (
            ToolCall(id=c.id, name=c.function.name, arguments=c.function.arguments)
            for c in self.tool_calls or ()
        )
        return Message(
            role="system" if self.role == "developer" else self.role,
            content=self.text,
            tool_calls=tuple(calls),
            tool_call_id=self.tool_call_id or "",
            name=self.name or "",
        )


class Function(Strict):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: JSON | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function

    def data(self) -> JSON:
        return self.model_dump(exclude_none=True)


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class Conversation(Strict):
    """Turns, and the tools on offer in them. A reply follows, or goes on from the last turn where
    that is its beginning, in the form of vLLM and SGLang.
    """

    messages: list[Turn] = Field(min_length=1)
    tools: list[Tool] | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool = True

    @property
    def given(self) -> list[Turn]:
        """Those before the reply."""
        return self.messages[:-1] if self.continue_final_message else self.messages

    @property
    def begun(self) -> str:
        """How the reply begins already."""
        return self.messages[-1].text if self.continue_final_message else ""

    @property
    def offered(self) -> JSON:
        """What `Chat` takes beside turns: the tools, where there are any."""
        return {TOOLS: [tool.data() for tool in self.tools]} if self.tools else {}

    def chat(self, engine: Engine, model: str, fields: JSON) -> Chat:
        """The turns before the reply, for an engine; raises `Refusal` where it does not obey all of
        `fields`.
        """
        chat = Chat(messages=tuple(turn.message() for turn in self.given), fields=fields)
        missing = unmet(chat, engine.capabilities)
        if missing is not None:
            raise invalid(chat_refusal(model, missing), field=missing, code="unsupported")
        return chat

    def check_conversation(self) -> None:
        """Raises `Refusal` for turns that do not fit together, or that no reply can follow."""
        check_turns(self.messages)
        last = self.messages[-1]
        if self.continue_final_message:
            begun = last.role == "assistant" and not last.tool_calls
            if not begun or self.add_generation_prompt:
                raise invalid(
                    "continue_final_message goes on from a last message that is the assistant's "
                    "text; send add_generation_prompt: false with it",
                    field="continue_final_message",
                )
        elif last.role not in ("user", "tool") or not self.add_generation_prompt:
            raise invalid(
                f"the last message is the {last.role}'s; it must be the user's or a tool's, "
                "or be continued (continue_final_message: true, add_generation_prompt: false)",
                field="messages",
            )


def check_turns(turns: Sequence[Turn]) -> None:
    """Raises `Refusal` for a turn that lacks what its role needs, or has what another one's does,
    and for an answer to a call that nobody made.
    """
    calls: list[str] = []
    for place, turn in enumerate(turns):
        if turn.content is None and not turn.tool_calls:
            raise _wrong(place, "content", "is null; give text")
        if turn.tool_calls and turn.role != "assistant":
            raise _wrong(
                place,
                "tool_calls",
                f"is in a turn of the {turn.role}'s; only the assistant calls tools",
            )
        if (turn.tool_call_id is not None) != (turn.role == "tool"):
            raise _wrong(
                place,
                "tool_call_id",
                f"is {turn.tool_call_id!r} in a turn of the "
                f"{turn.role}'s; a tool's turn names the call it answers, no other does",
            )
        if turn.tool_call_id is not None and turn.tool_call_id not in calls:
            raise _wrong(
                place,
                "tool_call_id",
                f"answers no call before it: {unknown('call', turn.tool_call_id, calls)}",
            )
        calls += [call.id for call in turn.tool_calls or ()]


def check_choice(choice: ToolChoice | None, tools: Sequence[Tool]) -> None:
    """Raises `Refusal` for a tool that must be called and is not there."""
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise invalid(f"tools are named {names!r}; give each a name of its own", field="tools")
    if choice == "required" and not tools:
        raise invalid("tool_choice is 'required', and there are no tools", field="tool_choice")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        raise invalid(unknown("tool", choice.function.name, names), field="tool_choice")


def _wrong(place: int, field: str, what: str) -> Refusal:
    return invalid(f"messages.{place}.{field} {what}", field=f"messages.{place}.{field}")
