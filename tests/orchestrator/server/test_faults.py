"""Bad requests, clients that leave, and crowds: clear errors in OpenAI's form, and nothing kept."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import openai
import pytest
from served import Served, served

from ponder.orchestrator import ServerSettings
from ponder.orchestrator.server.serving import listen
from ponder.runtime import BranchPath, ModelError, ScriptedEngine

QUESTION = "Ann has 17 apples and buys 25 more. How many apples does she have?"
USER: Any = [{"role": "user", "content": QUESTION}]
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
ASK: Any = {"model": "scripted", "messages": USER, "seed": 1}


@pytest.fixture(scope="module")
def server() -> Generator[Served]:
    with served(ScriptedEngine(), ServerSettings(most_bytes=100_000, most_choices=4)) as running:
        yield running


def post(
    server: Served, body: bytes | object, *, route: str = "chat/completions", key: str = ""
) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    with closing(connection):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/v1/{route}", raw, {"Authorization": key} if key else {})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read()), dict(reply.headers)


def head(length: int) -> bytes:
    route = "POST /v1/chat/completions HTTP/1.1"
    return f"{route}\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


BAD: dict[str, tuple[object, int, str | None, str]] = {
    "not JSON": (b"{", 400, "", "JSON"),
    "not UTF-8": (b'{"model": "\xff"}', 400, "", ""),
    "not an object": ([], 400, "", ""),
    "no model": ({"messages": USER}, 400, "model", "model is missing; it is required"),
    "unknown model": ({**ASK, "model": "scriptd"}, 404, "model", "did you mean 'scripted'"),
    "unknown setting": ({**ASK, "temprature": 1}, 400, "temprature", "did you mean 'temperature'"),
    "no messages": ({**ASK, "messages": []}, 400, "messages", "at least 1"),
    "empty question": (
        {**ASK, "model": "four", "messages": [{"role": "user", "content": " "}]},
        400,
        "",
        "empty",
    ),
    "unknown role": (
        {**ASK, "messages": [{"role": "robot", "content": "x"}]},
        400,
        "messages.0.role",
        "messages.0.role is 'robot'; it should be 'system', 'developer', 'user', 'assistant' or",
    ),
    "an image": (
        {**ASK, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        400,
        "messages.0.content.0.type",
        "is 'image_url'; it should be 'text'",
    ),
    "tokens for a chat": (
        {**ASK, "messages": [{"role": "user", "content": [1, 2]}]},
        400,
        "messages.0.content.0",
        "messages.0.content.0 is 1;",
    ),
    "tool_choice": (
        {**ASK, "tool_choice": "sometimes"},
        400,
        "tool_choice",
        "'sometimes'; it should be 'none', 'auto' or 'required'",
    ),
    "more in a turn": (
        {**ASK, "messages": [{**USER[0], "mood": "x" * 200}]},
        400,
        "messages.0.mood",
        "messages.0.mood is nothing that is known here",
    ),
    "a long value": ({**ASK, "n": "x" * 200}, 400, "n", "xxx...; it should be a valid integer"),
    "null content": (
        {**ASK, "messages": [{"role": "user", "content": None}]},
        400,
        "",
        "messages.0.content",
    ),
    "assistant last": (
        {**ASK, "messages": [*USER, {"role": "assistant", "content": "x"}]},
        400,
        "messages",
        "user's",
    ),
    "n of 0": ({**ASK, "n": 0}, 400, "n", "greater than or equal to 1"),
    "n of 5": ({**ASK, "n": 5}, 400, "n", "1 to 4"),
    "n as text": ({**ASK, "n": "3"}, 400, "n", "integer"),
    "hot": ({**ASK, "temperature": 3}, 400, "temperature", "less than or equal to 2"),
    "empty stop": ({**ASK, "stop": ""}, 400, "", "at least one character"),
    "half a tool": ({**ASK, "tools": [{"type": "function"}]}, 400, "", "tools.0.function"),
    "a tool without a name": (
        {**ASK, "tools": [{"type": "function", "function": {"name": "a b"}}]},
        400,
        "",
        "tools.0.function.name",
    ),
    "two tools of a name": ({**ASK, "tools": [TOOL, TOOL]}, 400, "tools", "name of its own"),
    "a tool that is not there": (
        {**ASK, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "ad"}}},
        400,
        "tool_choice",
        "did you mean 'add'",
    ),
    "no tool to require": ({**ASK, "tool_choice": "required"}, 400, "tool_choice", "no tools"),
    "a required tool": (
        {**ASK, "tools": [TOOL], "tool_choice": "required"},
        400,
        "tool_choice",
        "'auto' or 'none'",
    ),
    "tools for a strategy": (
        {**ASK, "model": "four", "tools": [TOOL]},
        400,
        "tools",
        "'four' is a strategy",
    ),
    "an answer to no call": (
        {**ASK, "messages": [*USER, {"role": "tool", "content": "5", "tool_call_id": "c1"}]},
        400,
        "messages.1.tool_call_id",
        "unknown call 'c1'",
    ),
    "an answer without its call": (
        {**ASK, "messages": [*USER, {"role": "tool", "content": "5"}]},
        400,
        "messages.1.tool_call_id",
        "names the call it answers",
    ),
    "a user who calls": (
        {**ASK, "messages": [{**USER[0], "tool_calls": [CALL]}]},
        400,
        "messages.0.tool_calls",
        "only the assistant",
    ),
    "replies in YAML": (
        {**ASK, "response_format": {"type": "yaml"}},
        400,
        "response_format",
        "its type is 'text', 'json_object', or 'json_schema'",
    ),
    "a schema that is missing": (
        {**ASK, "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        400,
        "response_format",
        "'schema': {...}",
    ),
    "two forms": (
        {**ASK, "structured_outputs": {"regex": "a", "grammar": "b"}},
        400,
        "structured_outputs",
        "says 2 forms; give one of json, regex and grammar",
    ),
    "forms in two places": (
        {
            **ASK,
            "structured_outputs": {"regex": "a"},
            "response_format": {"type": "json_object"},
        },
        400,
        "structured_outputs",
        "both say what the reply must fit",
    ),
    "a form that nobody knows": (
        {**ASK, "structured_outputs": {"choice": ["a"]}},
        400,
        "structured_outputs.choice",
        "choice",
    ),
    "a broken form": (
        {**ASK, "structured_outputs": {"regex": "a("}},
        400,
        None,
        "unclosed group",
    ),
    "a strategy's answer that is no JSON": (
        {**ASK, "model": "four", "structured_outputs": {"regex": "a"}},
        400,
        "structured_outputs",
        "not with a regex grammar",
    ),
    "likeliest of nothing": ({**ASK, "top_logprobs": 3}, 400, "top_logprobs", "logprobs: true"),
    "too many likeliest": (
        {**ASK, "logprobs": True, "top_logprobs": 21},
        400,
        "top_logprobs",
        "less than or equal to 20",
    ),
    "no tokens": ({**ASK, "max_tokens": 0}, 400, "max_tokens", "at least 1"),
    "a reply without a beginning": (
        {**ASK, "continue_final_message": True, "add_generation_prompt": False},
        400,
        "continue_final_message",
        "assistant's text",
    ),
    "penalty": ({**ASK, "presence_penalty": 0.5}, 400, "presence_penalty", "0"),
    "unknown strategy": (
        {**ASK, "ponder": {"strategy": "fuor"}},
        400,
        "ponder.strategy",
        "did you mean 'four'",
    ),
    "bad strategy": (
        {**ASK, "ponder": {"strategy": {"sample": {"n": 0}}}},
        400,
        "",
        "ponder.strategy.sample",
    ),
    "a strategy of code": (
        {**ASK, "ponder": {"strategy": {"__import__": "os"}}},
        400,
        "",
        "unknown operation",
    ),
    "negative budget": (
        {**ASK, "model": "four", "ponder": {"budget": {"tokens": -1}}},
        400,
        "ponder.budget.tokens",
        "ponder.budget.tokens is -1; it should be greater than or equal to 1",
    ),
    "endless budget": (
        {**ASK, "model": "four", "ponder": {"budget": {"tokens": 10**9}}},
        400,
        "ponder.budget.tokens",
        "at most",
    ),
    "budget for a model": (
        {**ASK, "ponder": {"budget": {"tokens": 5}}},
        400,
        "ponder",
        "plain model",
    ),
    "scores of a strategy": (
        {**ASK, "model": "four", "logprobs": True},
        400,
        "logprobs",
        "no log-probabilities",
    ),
    "bias on no token": ({**ASK, "logit_bias": {"x": 1}}, 400, "logit_bias", "token id"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_told_what_is_wrong(server: Served, name: str) -> None:
    body, status, field, words = BAD[name]
    got, reply, _ = post(server, body)
    error = reply["error"]
    assert got == status
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    if field:
        assert error["param"] == field


def test_a_huge_body_is_refused_unread(server: Served) -> None:
    body = {**ASK, "messages": [{"role": "user", "content": "x" * 200_000}]}
    status, reply, _ = post(server, body)
    assert status == 413
    assert reply["error"]["code"] == "request_too_large"


@pytest.mark.parametrize(
    "key", ["", "Bearer", "Bearer wrong", "Basic right", "right", "Bearer righ"]
)
def test_a_wrong_key_opens_nothing(key: str) -> None:
    with served(ScriptedEngine(), ServerSettings(keys=("other", "right"))) as server:
        status, reply, _ = post(server, ASK, key=key)
        assert (status, reply["error"]["code"]) == (401, "invalid_api_key")
        assert post(server, ASK, key="Bearer right")[0] == 200
        with (
            openai.OpenAI(base_url=server.url, api_key="no", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()


def test_a_full_server_says_when_to_come_back() -> None:
    engine = Waiting()
    with served(engine, ServerSettings(most_requests=2)) as server, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(post, server, ASK) for _ in range(2)]
        engine.wait_for(2)
        status, reply, headers = post(server, ASK)
        assert (status, reply["error"]["code"]) == (429, "server_busy")
        assert headers["retry-after"] == "1"
        engine.go.set()
        assert [request.result()[0] for request in held] == [200, 200]
        assert post(server, ASK)[0] == 200


def test_an_engine_that_fails_is_told_with_its_words() -> None:
    with served(Broken()) as server:
        status, reply, _ = post(server, ASK)
        assert (status, reply["error"]["type"]) == (500, "server_error")
        assert "the machine is gone" in reply["error"]["message"]
        status, reply, _ = post(server, {**ASK, "model": "four"})
        assert status == 500


def test_a_stream_that_fails_half_way_ends_with_the_error() -> None:
    with (
        served(Broken()) as server,
        openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(**ASK, stream=True)
        with pytest.raises(openai.APIError, match="the machine is gone"):
            for _ in stream:
                pass


@pytest.mark.parametrize("model", ["scripted", "four"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("read", [0, 1, 400])
def test_a_client_that_leaves_closes_its_branches(model: str, stream: bool, read: int) -> None:
    engine = Waiting()
    with served(engine) as server:
        with socket.create_connection((server.host, server.port)) as connection:
            body = json.dumps({**ASK, "model": model, "stream": stream, "n": 3}).encode()
            connection.sendall(head(len(body)) + body)
            engine.wait_for(1)
            if stream and read:
                connection.recv(read)
        until(lambda: engine.stats().branches == 0)
        engine.go.set()
        assert post(server, ASK)[0] == 200


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_harm(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(head(99) + b"{")
    assert post(server, ASK)[0] == 200
    assert not caplog.records, "it is nobody's fault"


def test_a_listening_socket_says_that_it_is_tcp() -> None:
    """Else asyncio leaves Nagle's delay on, and each reply waits for an acknowledgement."""
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_two_hundred_clients_at_once_do_not_mix() -> None:
    engine = ScriptedEngine(delay=lambda path, _: 0.002 * path.uniform(1))
    with served(engine, ServerSettings(most_requests=200)) as server:

        async def ask(client: openai.AsyncOpenAI, seed: int) -> str | None:
            model = ("scripted", "four")[seed % 2]
            reply = await client.chat.completions.create(model=model, messages=USER, seed=seed)
            return reply.choices[0].message.content

        async def crowd() -> list[str | None]:
            async with openai.AsyncOpenAI(
                base_url=server.url, api_key="x", max_retries=0
            ) as client:
                return await asyncio.gather(*(ask(client, seed) for seed in range(200)))

        together = asyncio.run(crowd())
        for seed in (0, 1, 57, 120, 199):
            model = ("scripted", "four")[seed % 2]
            alone = post(server, {**ASK, "model": model, "seed": seed})[1]
            assert alone["choices"][0]["message"]["content"] == together[seed]
        assert engine.stats().branches == 0


class Waiting(ScriptedEngine):
    """A decode waits for `go` when it has drawn its last character."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.waiting = 0

    async def pause(self, path: BranchPath, tokens: int) -> None:
        self.waiting += 1
        while not self.go.is_set():
            await asyncio.sleep(0.002)

    def wait_for(self, decodes: int) -> None:
        until(lambda: self.waiting >= decodes)


class Broken(ScriptedEngine):
    """Fails in every decode, when its last character is drawn."""

    async def pause(self, path: BranchPath, tokens: int) -> None:
        raise ModelError("the machine is gone")


def until(reached: Any, seconds: float = 20.0) -> None:
    """Waits for something to come true; says so when it does not."""
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError("it never came true")
        time.sleep(0.002)
