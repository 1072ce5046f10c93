"""What a request to an endpoint costs the client: CPU time at zero latency, beside the official
client alone.

1,024 replies of one character from a server in a process of its own that only echoes canned bytes.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import openai

from ponder.runtime import BranchPath, Message, Sampling
from ponder.runtime.remote.abilities import Abilities
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.engine import RemoteEngine

AT_ONCE, EACH, ROUNDS = 32, 32, 5
PROMPT, PARAMS = "hello", Sampling(max_tokens=8)
BODY = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "seed": 3}
ABILITIES = Abilities(
    version="",
    context_length=None,
    limit="max_tokens",
    completions=False,
    prefix=None,
    choices=1,
    seed=True,
    ladder=False,
    stop_told=False,
    logprobs=False,
    confidence=0,
    scores=False,
    usage=True,
    stream=False,
    top_k=False,
    min_p=False,
    grammars=(),
)


def canned(n: int) -> bytes:
    choice = {"message": {"role": "assistant", "content": "1"}, "finish_reason": "stop"}
    choices = [{"index": i, **choice} for i in range(n)]
    usage = {"prompt_tokens": 5, "completion_tokens": n, "total_tokens": 5 + n}
    reply = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**reply, "choices": choices, "usage": usage}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def serve(pipe: Connection) -> None:
    replies = {n: canned(n) for n in (1, EACH)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                writer.write(replies[body.get("n", 1)])
                await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            pipe.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


async def alone(engine: RemoteEngine) -> None:
    async def worker(i: int) -> None:
        for j in range(EACH):
            turns = [Message(role="user", content=PROMPT)]
            async with await engine.open(turns, path=BranchPath(i, (j,))) as branch:
                await branch.extend(PARAMS)

    await asyncio.gather(*map(worker, range(AT_ONCE)))


async def shared(engine: RemoteEngine) -> None:
    async def worker(i: int) -> None:
        turns = [Message(role="user", content=PROMPT)]
        async with await engine.open(turns, path=BranchPath(i)) as root:
            await asyncio.gather(*(fork.extend(PARAMS) for fork in root.fork(EACH)))

    await asyncio.gather(*map(worker, range(AT_ONCE)))


async def official(call: Callable[[], Awaitable[object]]) -> None:
    async def worker() -> None:
        for _ in range(EACH):
            await call()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def measure(url: str) -> None:
    endpoint = Endpoint(base_url=url, key="x")
    one = RemoteEngine(endpoint, "m", ABILITIES)
    many = RemoteEngine(endpoint, "m", replace(ABILITIES, choices=EACH))
    async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
        create = client.chat.completions.create
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "official client, create": lambda: official(lambda: create(**BODY)),  # type: ignore[call-overload]  # a plain dict
            "official client, post": lambda: official(
                lambda: client.post("/chat/completions", cast_to=str, body=BODY)
            ),
            "Ponder, one request a reply": lambda: alone(one),
            f"Ponder, {EACH} siblings a request": lambda: shared(many),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS + 1):
            for name, way in ways.items():
                started = time.process_time()
                await way()
                spent[name].append((time.process_time() - started) * 1000 / (AT_ONCE * EACH))
    for name, times in spent.items():
        kept = times[1:]  # the first round warms up
        print(
            f"{name:32} {statistics.median(kept):.3f} ms CPU a reply "
            f"({min(kept):.3f} to {max(kept):.3f} in {ROUNDS} rounds)"
        )


def main() -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        asyncio.run(measure(f"http://127.0.0.1:{here.recv()}/v1"))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
