"""A real HTTP server on a thread of its own, whose models each have a manner and a fault.

Speaks chat, completions, streams, `/models`, `/version` and `/tokenize`. Use it as

    with serving({"good": Manner(), "slow": Manner(fault="slow")}) as server:
        open_engine("openai:good", base_url=server.url)
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from scripted_endpoint import Json, Manner, ScriptedModel

from ponder.runtime import Message
from ponder.runtime.script import render

__all__ = ["Json", "Manner", "ScriptedModel", "Server", "running", "send", "serving"]
Running = TypeVar("Running", bound="Server")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
STATUS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
NULL = {"role": "assistant", "content": None}
OVERFLOW = {"error": {"message": "maximum context length is 8 tokens"}}
TOOL = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1'}}


class Server:
    """Counts what it sees."""

    def __init__(self, models: Mapping[str, Manner], model: ScriptedModel, key: str) -> None:
        self.models, self.model, self.key = dict(models), model, key
        self.requests: list[Json] = []
        """Bodies, in order of arrival."""
        self.connections = 0
        self.open = 0
        self.dropped = 0
        """Connections that clients closed while a request was under way."""
        self.inside = self.most = 0
        self.writers = set[asyncio.StreamWriter]()
        self.tries: Counter[str] = Counter()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = {k.lower(): v for k, _, v in (h.partition(": ") for h in head[1:])}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.inside += 1
                self.most = max(self.most, self.inside)
                work = asyncio.ensure_future(self.answer(head[0], fields, body, writer))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait([work, gone], return_when="FIRST_COMPLETED")
                self.inside -= 1
                self.dropped += not work.done()
                for task in (work, gone):
                    task.cancel()
                await asyncio.wait([work, gone])
                if work.cancelled() or not work.result():
                    break
        self.open -= 1
        self.writers.discard(writer)
        writer.close()

    async def answer(
        self, line: str, fields: Mapping[str, str], raw: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """False hangs up."""
        path = line.split()[1]
        if self.key and fields.get("authorization") != f"Bearer {self.key}":
            return await send(writer, {"error": {"message": "wrong key"}}, status=401)
        if path == "/v1/models":
            return await send(writer, {"data": [{"id": name} for name in self.models]})
        if path == "/version":
            return await send(writer, {"version": "1.0"})
        body: Json = json.loads(raw or b"{}")
        self.requests.append(body)
        manner = self.models.get(body.get("model", ""))
        if manner is None:
            return await send(writer, {"error": {"message": "no such model"}}, status=404)
        if path == "/tokenize" and manner.tokenize:
            turns = [
                Message(role=m["role"], content=m["content"]) for m in body.get("messages", ())
            ]
            text = render(turns) if turns else body["prompt"]
            return await send(writer, {"tokens": list(map(ord, text))})
        if path not in (CHAT, COMPLETIONS):
            return await send(writer, {"error": {"message": "not here"}}, status=404)
        if "max_tokens" in body and manner.limit != "max_tokens":
            refusal = {"error": {"message": "max_tokens: use max_completion_tokens"}}
            return await send(writer, refusal, status=400)
        if manner.context is not None and len(raw) > manner.context:
            return await send(writer, OVERFLOW, status=400)
        self.tries[body["model"]] += 1
        return await self._fault(manner.fault, body, manner, writer)

    async def _fault(
        self, fault: str | None, body: Json, manner: Manner, writer: asyncio.StreamWriter
    ) -> bool:
        tries = self.tries[body["model"]]
        if fault == "slow":
            await asyncio.sleep(30)
        if fault == "flaky" and tries % 20 == 0:
            return await send(writer, {"error": {"message": "oops"}}, status=500)
        if fault in ("429", "429 after") and tries % 3 != 0:
            after = {"Retry-After": "0.05"} if fault == "429 after" else {}
            return await send(writer, {"error": "too many"}, status=429, fields=after)
        if fault == "html":
            return await send(writer, "<html><h1>It works!</h1></html>", kind="text/html")
        if fault == "hangs up" or (fault == "hangs up once" and tries == 1):
            return False
        reply = await self.model.reply(body, manner)
        broken: dict[str | None, Any] = {
            "empty": {**reply, "choices": []},
            "null": {**reply, "choices": [{"message": NULL, "finish_reason": "stop"}]},
            "tools": {
                **reply,
                "choices": [
                    {"message": {**NULL, "tool_calls": [TOOL]}, "finish_reason": "tool_calls"}
                ],
            },
            "malformed": '{"choices": [{"index": ',
            "overflow": OVERFLOW,
        }
        if fault in broken:
            return await send(writer, broken[fault], status=400 if fault == "overflow" else 200)
        if body.get("stream"):
            drop = fault == "drop" or (fault == "drop once" and tries == 1)
            return await stream(writer, reply, body, drop=drop, slowly=fault == "trickle")
        if fault == "trickle":
            await asyncio.sleep(30)
        return await send(writer, reply)


async def send(
    writer: asyncio.StreamWriter,
    content: object,
    *,
    status: int = 200,
    kind: str = "application/json",
    fields: Mapping[str, str] = {},
) -> bool:
    body = (content if isinstance(content, str) else json.dumps(content)).encode()
    given = {"Content-Type": kind, "Content-Length": len(body), **fields}
    lines = [f"HTTP/1.1 {status} {STATUS.get(status, 'Failed')}"]
    lines += [f"{name}: {value}" for name, value in given.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    return True


async def stream(
    writer: asyncio.StreamWriter, reply: Json, body: Json, *, drop: bool, slowly: bool
) -> bool:
    """A character a piece, as server-sent events in chunks."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for count, piece in enumerate(pieces(reply, body)):
        if drop and count == 5:
            return False
        event = f"data: {piece if isinstance(piece, str) else json.dumps(piece)}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        if slowly:
            await asyncio.sleep(0.02)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def pieces(reply: Json, body: Json) -> Iterator[object]:
    for choice in reply["choices"]:
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        told = choice.get("logprobs")
        for place, letter in enumerate([*text, ""]):
            piece: Json = {"index": choice["index"], "finish_reason": None}
            piece |= {"text": letter} if "text" in choice else {"delta": {"content": letter}}
            last = place == len(text)
            if told:
                cut = slice(place, None if last else place + 1)
                piece["logprobs"] = {k: v[cut] for k, v in told.items()}
            if last:
                piece |= {k: choice.get(k) for k in ("finish_reason", "stop_reason")}
            yield {"choices": [piece]}
    if body.get("stream_options", {}).get("include_usage") and "usage" in reply:
        yield {"choices": [], "usage": reply["usage"]}
    yield "[DONE]"


@contextmanager
def serving(
    models: Mapping[str, Manner], model: ScriptedModel | None = None, *, key: str = ""
) -> Iterator[Server]:
    with running(Server(models, model or ScriptedModel(), key)) as server:
        yield server


@contextmanager
def running(server: Running) -> Iterator[Running]:
    """On a thread of its own."""
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def main() -> None:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
            ready.set()
            await stopped.wait()
            for writer in list(server.writers):
                writer.transport.abort()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for outcome in await asyncio.gather(*left, return_exceptions=True):
                if isinstance(outcome, Exception):  # a hanging answer ends as cancelled: no fault
                    raise outcome

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
