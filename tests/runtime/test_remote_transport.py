"""HTTP as it is spoken to endpoints: how replies end, and which connections live on."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.faults import EndpointError, translated
from ponder.runtime.remote.pool import HTTPError, line_to
from ponder.runtime.remote.transport import Transport, framed, http

OK = b"HTTP/1.1 200 OK\r\n"
REPLIES = {
    "length": OK + b"Content-Length: 5\r\n\r\nhello",
    "chunks": OK
    + b"Transfer-Encoding: chunked\r\n\r\n2;x=1\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
    "end": OK + b"\r\nhello",
    "close": OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length:5\r\n\r\nhello",
}
BROKEN = {
    "nothing": b"",
    "half a head": OK,
    "half a body": OK + b"Content-Length: 5\r\n\r\nhe",
    "half a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
    "no number": OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
}
ENDS = {"end", "close", "old", *BROKEN}
Work = Callable[[int], Coroutine[object, object, None]]


class Canned:
    """Sends the same bytes for each request; closes after those that say so, or are half."""

    def __init__(self, reply: bytes, *, closes: bool = False) -> None:
        self.reply, self.closes = reply, closes
        self.connections, self.ended = 0, asyncio.Event()
        self.seen: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while head := await reader.read(2**16):
            self.seen.append(head)
            writer.write(self.reply)
            if self.closes:
                break
        self.ended.set()
        writer.close()


async def canned(server: Canned, work: Work, context: ssl.SSLContext | None = None) -> None:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        await work(listening.sockets[0].getsockname()[1])
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def exchanged(transport: Transport, port: int, read: float = 5.0) -> bytes:
    message = framed("POST", b"/", [(b"host", b"x")], b"hi")
    origin = "http", "127.0.0.1", port
    return (await transport.exchange(origin, message, connect=5.0, read=read))[1]


@pytest.mark.parametrize("kind", REPLIES)
def test_both_ways_read_every_kind_of_body_and_keep_what_can_be_kept(kind: str) -> None:
    server = Canned(REPLIES[kind], closes=kind in ENDS)

    async def work(port: int) -> None:
        transport = Transport(kept=2)
        assert [await exchanged(transport, port) for _ in range(3)] == [b"hello"] * 3
        async with http.AsyncClient(transport=transport) as client:
            for _ in range(3):
                reply = await client.post(f"http://127.0.0.1:{port}/p?q=1", content=b"hi")
                assert (reply.status_code, reply.content) == (200, b"hello")

    asyncio.run(canned(server, work))
    assert server.connections == (6 if kind in ENDS else 1)
    assert server.seen[-1].startswith(b"POST /p?q=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("kind", BROKEN)
def test_what_breaks_off_or_is_no_http_is_an_error_of_the_library(kind: str) -> None:
    async def work(port: int) -> None:
        transport = Transport(kept=2)
        with pytest.raises(http.RemoteProtocolError):
            await exchanged(transport, port)
        async with http.AsyncClient(transport=transport) as client:
            with pytest.raises(HTTPError):
                await client.get(f"http://127.0.0.1:{port}/")

    asyncio.run(canned(Canned(BROKEN[kind], closes=True), work))


def test_a_late_reply_and_a_cancelled_one_close_their_connection() -> None:
    async def work(port: int) -> None:
        transport = Transport(kept=2)
        with pytest.raises(http.ReadTimeout):
            await exchanged(transport, port, read=0.02)
        await server.ended.wait()
        server.ended.clear()
        waiting = asyncio.create_task(exchanged(transport, port))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await server.ended.wait()

    server = Canned(OK + b"Content-Length: 9\r\n\r\nhello")
    asyncio.run(canned(server, work))
    assert server.connections == 2


def test_leaving_a_stream_early_closes_its_connection() -> None:
    async def work(port: int) -> None:
        async with http.AsyncClient(transport=Transport(kept=2)) as client:
            async with client.stream("GET", f"http://127.0.0.1:{port}/") as reply:
                assert await anext(reply.aiter_raw()) == b"he"
            await server.ended.wait()

    server = Canned(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    asyncio.run(canned(server, work))


def test_idle_connections_are_few_and_do_not_last() -> None:
    async def work(port: int) -> None:
        few, brief = Transport(kept=1), Transport(kept=9, idle=0.0)
        await asyncio.gather(*(exchanged(few, port) for _ in range(3)))
        assert server.connections == 3
        await asyncio.gather(*(exchanged(few, port) for _ in range(3)))
        assert server.connections == 5
        for _ in range(2):
            await exchanged(brief, port)
        assert server.connections == 7
        await few.aclose()
        await brief.aclose()

    server = Canned(REPLIES["length"])
    asyncio.run(canned(server, work))


def test_nobody_listens() -> None:
    async def main() -> None:
        with pytest.raises(http.ConnectError):
            await exchanged(Transport(kept=1), 1)

    asyncio.run(main())


def test_a_line_break_in_a_header_is_refused() -> None:
    with pytest.raises(http.LocalProtocolError):
        framed("POST", b"/", [(b"authorization", b"Bearer x\r\nevil: 1")], b"")


def test_a_redirect_is_followed_and_other_statuses_are_told() -> None:
    def line(port: int) -> Endpoint:
        return Endpoint(base_url=f"http://127.0.0.1:{port}/v1", key="k")

    async def work(port: int) -> None:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{port}/v1/\r\n".encode()

        async def behind(front: int) -> None:
            assert await (await line_to(line(front))).post("/chat", {"a": 1}) == "hello"

        await canned(Canned(moved + b"Content-Length: 0\r\n\r\n"), behind)
        server.reply = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
        with pytest.raises(Exception, match="503") as caught:
            await (await line_to(line(port))).post("/chat", {"a": 1})
        error = translated(caught.value, line(port))
        assert isinstance(error, EndpointError)
        assert (error.retryable, error.after) == (True, 7.0)

    server = Canned(REPLIES["length"])
    asyncio.run(canned(server, work))
    assert b"\r\nauthorization: bearer k\r\n" in server.seen[-1].lower()
    assert server.seen[-1].endswith(b'\r\ncontent-length: 7\r\n\r\n{"a":1}')


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run(
        [*made.split(), *names, "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def work(port: int) -> None:
        message = framed("POST", b"/", [], b"hi")
        origin = "https", "127.0.0.1", port
        with pytest.raises(http.ConnectError, match="certificate"):
            await Transport(kept=1).exchange(origin, message, connect=5.0, read=5.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        transport = Transport(kept=1)
        assert (await transport.exchange(origin, message, connect=5.0, read=5.0))[1] == b"hello"
        await transport.aclose()
        await asyncio.sleep(0.05)

    asyncio.run(canned(Canned(REPLIES["length"]), work, context))
