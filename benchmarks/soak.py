"""Thousands of requests, good and bad, from clients that leave whenever they like, on a real
`ponder serve`; then nothing may be left of them.

Each kind of request is asked once alone; every reply that survives the crowd must say the same.
Needs Linux (`/proc`). `python -m benchmarks.soak --model scripted --requests 10000 --json`; the
model may be "tiny", a random one that is written on the spot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks import tiny_model
from benchmarks.wire import Address, Answer, Json, said

CLIENTS = 64
LEAVERS = 0.4
"""Share of requests whose client leaves before the end."""
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTION = "Ann has 17 apples and buys 25 more. How many apples does she have?"
STRATEGIES = ("self_consistency", "best_of_n")
EVERY = 100
"""Requests between two looks at the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A request; `expected` is what it says when nobody else is there."""

    route: str
    body: bytes
    expected: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At the server's process and metrics."""

    requests: int
    resident: int
    """Bytes."""
    files: int
    under_way: int
    branches: int
    held: int
    """Pages, but for those that are only cached."""
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    child: subprocess.Popen[str]
    address: Address
    log: Path

    async def look(self, requests: int) -> Look:
        text = await self.address.get("/metrics")
        told = {k: int(float(v)) for k, v in re.findall(r"^(ponder_\w+)\S* (\S+)$", text, re.M)}
        proc, cached = Path(f"/proc/{self.child.pid}"), told["ponder_engine_pages_cached"]
        return Look(
            requests=requests,
            resident=int((proc / "statm").read_text().split()[1]) * 4096,
            files=len(list((proc / "fd").iterdir())),
            under_way=told["ponder_requests_under_way"],
            branches=told["ponder_engine_branches"],
            held=told["ponder_engine_pages_held"] - cached,
            cached=cached,
        )


def kinds(model: str, seeds: int) -> list[Kind]:
    """Whole ones, and ones that are refused."""
    user = [{"role": "user", "content": QUESTION}]
    short = {"max_tokens": 24}
    whole: list[tuple[str, Json]] = []
    for seed in range(seeds):
        stream = {"stream": seed % 2 == 0, "stream_options": {"include_usage": True}}
        more = {"seed": seed, "n": 1 + seed % 3, **short, **(stream if seed % 2 == 0 else {})}
        whole.append((CHAT, {"model": model, "messages": user, **more}))
        whole.append((TEXT, {"model": model, "prompt": QUESTION, "stop": ["."], **more}))
        thinking = {"messages": user, "ponder": {"budget": {"tokens": 4000}}}
        whole.append((CHAT, {"model": STRATEGIES[seed % 2], **thinking, **more}))
    scored = {"prompt": QUESTION, "echo": True, "logprobs": 1, "max_tokens": 0}
    whole.append((TEXT, {"model": model, **scored}))
    refused: list[tuple[str, Json]] = [
        (CHAT, {"model": "nobody", "messages": user}),
        (CHAT, {"model": STRATEGIES[0], "messages": user, "ponder": {"budget": {"tokens": -1}}}),
        (CHAT, {"model": model, "messages": user, "temprature": 1}),
        (TEXT, {"model": model, "prompt": ""}) if model != "scripted" else (TEXT, {"model": model}),
    ]
    made = [Kind(route=r, body=json.dumps(body).encode()) for r, body in [*whole, *refused]]
    return [*made, Kind(route=CHAT, body=b'{"model": ')]


@dataclass(slots=True, kw_only=True)
class Soak:
    server: Server
    kinds: Sequence[Kind]
    chance: random.Random
    done: int = 0
    left: int = 0
    statuses: Counter[int] = field(default_factory=Counter[int])
    wrong: list[str] = field(default_factory=list[str])
    looks: list[Look] = field(default_factory=list[Look])

    async def run(self, requests: int) -> None:
        plan = iter(range(requests))
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._client(plan))

    async def _client(self, plan: Iterator[int]) -> None:
        """Clients share a plan: each number of it goes to one."""
        for _ in plan:
            kind = self.chance.choice(self.kinds)
            if self.chance.random() < LEAVERS:
                await self._leave(kind)
            else:
                await self._stay(kind)
            self.done += 1
            if self.done % EVERY == 0:
                self.looks.append(await self.server.look(self.done))

    async def _leave(self, kind: Kind) -> None:
        chance = self.chance
        sent = chance.choice((0.0, chance.random(), 1.0, 1.0, 1.0))
        read, wait = chance.choice((0, 0, 1, 300, 2000)), chance.random() ** 3 * 0.2
        self.left += 1
        await self.server.address.leave(kind.route, kind.body, sent=sent, read=read, wait=wait)

    async def _stay(self, kind: Kind) -> None:
        answer = await self.server.address.post(kind.route, kind.body)
        self.statuses[answer.status] += 1
        if judged(answer) != kind.expected:
            self.wrong.append(f"{kind.body.decode()}: {answer.status} {answer.body[:300]}")


def judged(answer: Answer) -> Json:
    told = said(answer)
    if told.get("usage"):
        # What is found in a cache depends on who came before.
        told["usage"] = {k: told["usage"][k] for k in ("prompt_tokens", "completion_tokens")}
    return {"status": answer.status, **told}


async def soaked(server: Server, model: str, requests: int, seed: int) -> Json:
    asked = [
        Kind(
            route=kind.route,
            body=kind.body,
            expected=judged(await server.address.post(kind.route, kind.body)),
        )
        for kind in kinds(model, 24)
    ]
    before = await server.look(0)
    soak = Soak(server=server, kinds=asked, chance=random.Random(seed))
    started = time.monotonic()
    await soak.run(requests)
    seconds = time.monotonic() - started
    after = await settled(server, requests, before)
    told: Json = {
        "model": model,
        "requests": requests,
        "left early": soak.left,
        "statuses": dict(sorted(soak.statuses.items())),
        "wrong replies": len(soak.wrong),
        "first wrong": soak.wrong[:1],
        "lines in its log": server.log.read_text().count("\n") - 1,
        "seconds": round(seconds, 1),
        "branches": after.branches,
        "pages held": after.held,
        "pages cached": after.cached,
        "under way": after.under_way,
        "files before": before.files,
        "files after": after.files,
        "megabytes": [round(x.resident / 1e6, 1) for x in (before, *soak.looks[9::10], after)],
        "bytes a request after warm-up": round(slope(soak.looks[len(soak.looks) // 2 :])),
    }
    return told


async def settled(server: Server, requests: int, before: Look) -> Look:
    """When the last clients' leaving has come through; or after ten seconds, as it is."""
    look = await server.look(requests)
    for _ in range(100):
        # The look itself is a connection that the server may not have closed yet.
        if not (look.under_way or look.branches or look.held) and look.files <= before.files:
            break
        await asyncio.sleep(0.1)
        look = await server.look(requests)
    return look


def slope(looks: Sequence[Look]) -> float:
    """Resident bytes a request, by least squares."""
    if len(looks) < 2:
        return 0.0
    middle = sum(x.requests for x in looks) / len(looks)
    spread = sum((x.requests - middle) ** 2 for x in looks)
    return sum((x.requests - middle) * x.resident for x in looks) / spread if spread else 0.0


@contextmanager
def serving(model: str, pages: int) -> Generator[Server]:
    options = ["--port", "0", "--most-requests", "256", "--pages", str(pages)]
    command = [sys.executable, "-m", "ponder.cli", "serve", "--model", model, *options]
    # Into a file: a pipe that nobody reads would hold up a server that has something to say.
    with (
        tempfile.NamedTemporaryFile("r") as log,
        subprocess.Popen(command, stderr=Path(log.name).open("w"), text=True) as child,
    ):
        try:
            yield Server(child=child, address=_address(log, child), log=Path(log.name))
            child.terminate()
            child.wait(60)
        finally:
            child.kill()


def _address(log: IO[str], child: subprocess.Popen[str]) -> Address:
    while child.poll() is None:
        found = re.search(r"http://([^:]+):(\d+)", log.read())
        if found is not None:
            return Address(host=found[1], port=int(found[2]))
        log.seek(0)
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start: {Path(log.name).read_text()}")


def sound(told: Json) -> bool:
    """Nothing wrong and nothing left."""
    left = ("wrong replies", "lines in its log", "branches", "pages held", "under way")
    return not any(told[name] for name in left) and told["files after"] <= told["files before"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model: str = given.model
        if model == "tiny":
            model = str(tiny_model.write(Path(folder) / "tiny"))
        with serving(model, given.pages) as server:
            told = asyncio.run(soaked(server, model, given.requests, given.seed))
        told |= {"model": given.model, "exit code": server.child.returncode}
    print(json.dumps(told) if given.json else "\n".join(f"{k:30} {v}" for k, v in told.items()))
    sys.exit(0 if sound(told) and told["exit code"] == 0 else 1)


if __name__ == "__main__":
    main()
