"""Tools, their calls and answers, over the wire with the official client."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

import openai
import pytest
from served import Served, served

from ponder.runtime import ScriptedEngine

ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
SAID = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'
USER: Any = [{"role": "user", "content": "What is 2 + 3?"}]


def script(prompt: str) -> Mapping[str, float]:
    """Calls, breaks off a call, or calls nothing where tools are; then tells what it was told."""
    if "tool: " in prompt:
        return {f"So it is {prompt.split('tool: ')[1].splitlines()[0]}.": 1.0}
    if "tools: " not in prompt:
        return {SAID: 1.0}
    return {
        f"I add.\n{SAID}\n{SAID}": 1.0,
        SAID: 1.0,
        '<tool_call>{"name": "add", "arguments": </tool_call>': 1.0,
        "I <need> no tools.": 1.0,
    }


@pytest.fixture(scope="module")
def client() -> Generator[openai.OpenAI]:
    with (
        served(ScriptedEngine(script)) as running,
        openai.OpenAI(base_url=running.url, api_key="none", max_retries=0) as made,
    ):
        yield made


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="scripted", **{"messages": USER, **more})


def test_calls_come_back_as_calls_and_the_rest_as_text(client: openai.OpenAI) -> None:
    reply = ask(client, tools=[ADD], n=64, seed=1)
    told = {choice.message.content: choice for choice in reply.choices}
    broken = '<tool_call>{"name": "add", "arguments": </tool_call>'
    assert set(told) == {"I add.\n", None, broken, "I <need> no tools."}
    assert len(told["I add.\n"].message.tool_calls) == 2
    (call,) = told[None].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 2})
    ids = [call.id for choice in reply.choices for call in choice.message.tool_calls or ()]
    assert len(set(ids)) == len(ids)
    for text, choice in told.items():
        calls = choice.message.tool_calls is not None
        assert choice.finish_reason == ("tool_calls" if calls else "stop")
        unread = reply.model_extra["ponder"]["choices"][choice.index]
        assert unread == ({"unread_tool_calls": 1} if text == broken else {})


def test_a_stream_joins_to_the_same_reply(client: openai.OpenAI) -> None:
    whole = ask(client, tools=[ADD], n=16, seed=1)
    texts, ends = [""] * 16, [""] * 16
    calls: list[Any] = [()] * 16
    for chunk in ask(client, tools=[ADD], n=16, seed=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            calls[choice.index] = choice.delta.tool_calls or calls[choice.index]
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    for i, choice in enumerate(whole.choices):
        assert texts[i] == (choice.message.content or "")
        assert ends[i] == choice.finish_reason
        streamed = [(c.id, c.function.name, c.function.arguments) for c in calls[i]]
        made = choice.message.tool_calls or ()
        assert streamed == [(c.id, c.function.name, c.function.arguments) for c in made]
        assert [c.index for c in calls[i]] == list(range(len(made)))


def test_a_whole_conversation_with_a_tool(client: openai.OpenAI) -> None:
    """The reply's message is sent back as the client has it."""
    calling = next(
        c for c in ask(client, tools=[ADD], n=64, seed=1).choices if c.message.tool_calls
    )
    (call, *_) = calling.message.tool_calls
    answer = {"role": "tool", "tool_call_id": call.id, "content": "five"}
    for tools in ({"tools": [ADD]}, {"tools": [ADD], "tool_choice": "none"}, {}):
        reply = ask(client, messages=[*USER, calling.message, answer], **tools)
        assert reply.choices[0].message.content == "So it is five."
    answer["tool_call_id"] = "call_x"
    with pytest.raises(openai.BadRequestError, match=r"messages\.2\.tool_call_id answers no call"):
        ask(client, messages=[*USER, calling.message, answer])


def test_without_tools_a_call_is_text(client: openai.OpenAI) -> None:
    for off in ({}, {"tools": [ADD], "tool_choice": "none"}):
        choice = ask(client, **off).choices[0]
        assert (choice.message.content, choice.finish_reason) == (SAID, "stop")


def test_a_begun_reply_is_continued(client: openai.OpenAI) -> None:
    begun = {"continue_final_message": True, "add_generation_prompt": False}
    turns = [*USER, {"role": "assistant", "content": SAID[:7]}]
    reply = ask(client, messages=turns, extra_body=begun)
    assert reply.choices[0].message.content == SAID[7:]


def test_an_endpoint_behind_is_told_all_of_it(served_twice: Served) -> None:
    """Client, server, `openai` engine, server, scripted engine."""
    with openai.OpenAI(base_url=served_twice.url, api_key="none", max_retries=0) as client:
        reply = ask(client, tools=[ADD], n=16, seed=1)
        finishes = {choice.finish_reason for choice in reply.choices}
        assert finishes == {"tool_calls", "stop"}
        with pytest.raises(openai.BadRequestError, match="cannot be made to call a tool"):
            ask(client, tools=[ADD], tool_choice="required")
        with pytest.raises(openai.BadRequestError, match="grammar allows"):
            ask(client, response_format={"type": "json_object"})


@pytest.fixture
def served_twice(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Generator[Served]:
    from ponder.runtime import open_engine

    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    with served(ScriptedEngine(script)) as inner:
        engine = open_engine("openai:scripted", base_url=inner.url, api_key="none")
        with served(engine) as outer:
            yield outer
