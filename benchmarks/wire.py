"""HTTP by hand, for a client that may leave at any byte."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    host: str
    port: int

    async def get(self, route: str) -> str:
        return (await self._whole(f"GET {route} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).body

    async def post(self, route: str, body: bytes) -> Answer:
        return await self._whole(request(route, body))

    async def leave(self, route: str, body: bytes, *, sent: float, read: int, wait: float) -> None:
        """Send a part of the request, from 0 to 1; of a whole one read up to so many bytes of the
        reply; and go, without a word, after as many seconds.
        """
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            raw = request(route, body)
            writer.write(raw[: round(sent * len(raw))])
            await writer.drain()
            if sent == 1 and read:
                await reader.read(read)
            await asyncio.sleep(wait)
        except ConnectionError:
            pass  # It leaves anyway.
        finally:
            writer.transport.abort()

    async def _whole(self, raw: bytes) -> Answer:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if "transfer-encoding: chunked" in head:
                body = await _chunks(reader)
            else:
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                body = await reader.readexactly(int(length))
            return Answer(status=int(head.split()[1]), body=body.decode())
        finally:
            writer.close()


def request(route: str, body: bytes) -> bytes:
    return (
        f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


def said(answer: Answer) -> Json:
    """What a reply says, streamed or not: texts, ends and tokens, without ids and times."""
    if not answer.body.startswith((":", "data: ")):
        return _reply(json.loads(answer.body))
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    usage: Json | None = None
    lines = [line[6:] for line in answer.body.splitlines() if line.startswith("data: ")]
    if lines[-1] != "[DONE]":
        return {"error": lines[-1]}
    for line in lines[:-1]:
        piece: Json = json.loads(line)
        usage = piece.get("usage") or usage
        for choice in piece["choices"]:
            text = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
            texts[choice["index"]] = texts.get(choice["index"], "") + text
            ends[choice["index"]] = choice["finish_reason"]
    count = range(len(texts))
    return {"texts": [texts[i] for i in count], "ends": [ends[i] for i in count], "usage": usage}


def _reply(reply: Json) -> Json:
    if "error" in reply:
        return {"error": reply["error"]["message"]}
    choices = reply["choices"]
    return {
        "texts": [c["text"] if "text" in c else c["message"]["content"] for c in choices],
        "ends": [c["finish_reason"] for c in choices],
        "usage": reply["usage"],
    }
