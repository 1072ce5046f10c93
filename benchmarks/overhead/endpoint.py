"""The scripted endpoint: OpenAI's chat completions over HTTP/1.1, in a process of its own.

    python -m benchmarks.overhead.endpoint

prints its port. Model "shared" honours `n`, model "single" gives one choice whatever is asked.
`POST /control` takes settings, tells the counts so far and starts new ones. Standard library only.
"""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

from benchmarks.overhead.counting import Counts
from benchmarks.overhead.script import (
    TALK,
    Fault,
    Settings,
    delay,
    fault,
    judging,
    problem,
    said,
    tokens,
    written,
)

CHAT = b"/v1/chat/completions"
MODELS = ("shared", "single")
MOST_CHOICES = 128
_STATUS = {200: b"OK", 404: b"Not Found", 500: b"Internal Server Error"}


class Script:
    """One endpoint's settings and counts."""

    def __init__(self) -> None:
        self.settings, self.counts = Settings(), Counts()
        self.index = 0

    def control(self, raw: bytes) -> dict[str, Any]:  # Any: JSON
        told, self.counts, self.index = self.counts.told(), Counts(), 0
        self.settings = Settings(**json.loads(raw))
        return told

    def reply(self, body: dict[str, Any], prompt: str) -> dict[str, Any]:  # Any: JSON
        turns, seed = body["messages"], body.get("seed")
        several = (body["model"] == "shared" and body.get("n")) or 1
        texts = [
            said(turns, prompt, None if seed is None else seed + i, body.get("temperature", 1.0))
            for i in range(min(several, MOST_CHOICES))
        ]
        drawn, read = sum(map(tokens, texts)), tokens(prompt)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {
                    "index": i,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
                for i, text in enumerate(texts)
            ],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": drawn,
                "total_tokens": read + drawn,
            },
        }


class Connection(asyncio.Protocol):
    """One client's, with one request at a time."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._under_way: Counts | None = None
        self._counted: Counts | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._under_way is not None:
            self._under_way.left += 1
            self._done()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        if len(rest) >= length:
            self._buffer = rest[length:]
            method, path, _ = head.split(b" ", 2)
            self._answer(method, path, rest[:length])

    def _answer(self, method: bytes, path: bytes, raw: bytes) -> None:
        if path == CHAT and method == b"POST":
            self._chat(raw)
        elif path == b"/control":
            self._send(200, self._script.control(raw))
        elif path == b"/v1/models":
            self._send(200, {"data": [{"id": name, "object": "model"} for name in MODELS]})
        else:
            self._send(404, {"error": {"message": "no such route"}})

    def _chat(self, raw: bytes) -> None:
        script, body = self._script, json.loads(raw)
        prompt, counts = written(body["messages"]), script.counts
        if self._counted is not counts:
            self._counted = counts
            counts.connections += 1
        counts.begin(prompt, raw)
        self._under_way = counts
        index, script.index = script.index, script.index + 1
        judged = prompt if judging(body["messages"]) else None
        wrong = fault(script.settings, index, judging=judged is not None)
        if wrong is Fault.HANG:
            counts.wrong(problem(prompt), wrong, judged)
            return

        def end() -> None:
            if self._transport is not None:
                self._done()
                self._end(body, prompt, judged, wrong, counts)

        seconds = delay(script.settings, index)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, end)
        else:
            end()

    def _end(
        self,
        body: dict[str, Any],  # Any: JSON
        prompt: str,
        judged: str | None,
        wrong: Fault | None,
        counts: Counts,
    ) -> None:
        number = problem(prompt)
        if wrong is not None:
            counts.wrong(number, wrong, judged)
            self._misbehave(wrong, body, prompt)
            return
        reply = self._script.reply(body, prompt)
        counts.whole(number, len(reply["choices"]), judged, reply["usage"])
        self._send(200, reply)

    def _misbehave(self, wrong: Fault, body: dict[str, Any], prompt: str) -> None:  # Any: JSON
        if wrong is Fault.ERROR:
            self._send(500, {"error": {"message": "the server is ill", "type": "server_error"}})
        elif wrong is Fault.PAGE:
            self._write(200, b"<html><body>Please log in</body></html>", b"text/html")
        else:
            reply = self._script.reply(body, prompt)
            if wrong is Fault.EMPTY:
                reply["choices"] = []
            for choice in reply["choices"] if wrong in (Fault.NULL, Fault.TALK) else ():
                choice["message"]["content"] = None if wrong is Fault.NULL else TALK
            whole = json.dumps(reply).encode()
            self._write(200, whole[: len(whole) // 2] if wrong is Fault.CUT else whole)

    def _done(self) -> None:
        if self._under_way is not None:
            self._under_way.end()
            self._under_way = None

    def _send(self, status: int, content: object) -> None:
        self._write(status, json.dumps(content).encode())

    def _write(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (status, _STATUS[status], kind, len(body), body)
            )


async def listening(script: Script) -> list[asyncio.Server]:
    """On one free port of both loopback addresses, where there are two."""
    loop = asyncio.get_running_loop()
    first = await loop.create_server(lambda: Connection(script), "127.0.0.1", 0, backlog=2048)
    port = first.sockets[0].getsockname()[1]
    try:
        second = await loop.create_server(lambda: Connection(script), "::1", port, backlog=2048)
    except OSError:  # no IPv6 here
        return [first]
    return [first, second]


async def main() -> None:
    servers = await listening(Script())
    gc.freeze()
    print(servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
