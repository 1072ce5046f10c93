"""N: what a server in front of the endpoint adds to a plain request: `ponder serve`, optillm's
`none` and its-hub's `its-iaas` with a budget of 1, one request after the other on one connection.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.contenders import RIVALS, ROOT
from benchmarks.overhead.bench import Bench
from benchmarks.overhead.metrics import Row
from benchmarks.overhead.script import Settings, question

REQUESTS, WARM_UP = 200, 20
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`{url}` and `{port}` are filled in."""

    command: Sequence[str]
    health: str
    model: str = "single"
    configure: Mapping[str, object] = field(default_factory=dict[str, object])
    """Posted to `/configure` once it runs."""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


_PONDER = "from ponder.cli import main; main()"
SERVERS = {
    "ponder": Server(
        command=(
            *(sys.executable, "-c", _PONDER, "serve", "--model", "openai:single"),
            *("--base-url", "{url}", "--port", "{port}"),
        ),
        health="/healthz",
        model="openai:single",
    ),
    "its_hub": Server(
        command=(
            *(str(RIVALS / "its_hub" / "bin" / "its-iaas"), "--port", "{port}"),
            *("--log-level", "ERROR"),
        ),
        health="/v1/models",
        configure={
            "endpoint": "{url}",
            "api_key": "x",
            "model": "single",
            "alg": "self-consistency",
            "regex_patterns": ["boxed.([0-9]+)"],
            "budget": 1,
        },
        fields={"X-ITS-Budget": "1"},
    ),
    "optillm": Server(
        command=(
            *(str(RIVALS / "optillm" / "bin" / "optillm"), "--base-url", "{url}"),
            *("--port", "{port}", "--log", "error"),
        ),
        health="/health",
        model="none-single",
    ),
}


def ask(there: http.client.HTTPConnection, server: Server | None, number: int) -> None:
    """One request.

    Raises:
        RuntimeError: the answer is none.
    """
    body = {
        "model": server.model if server else "single",
        "messages": [{"role": "user", "content": question(number)}],
        "max_tokens": 64,
    }
    fields = {"Content-Type": "application/json", "Authorization": "Bearer sk-x"}
    there.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {**fields, **(server.fields if server else {})},
    )
    reply = there.getresponse()
    raw = reply.read()
    if reply.status != 200 or b"boxed" not in raw:
        raise RuntimeError(f"status {reply.status}: {raw[:200]!r}")


def latencies(port: int, server: Server | None) -> list[float]:
    """Milliseconds a request."""
    there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    there.connect()
    there.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    taken = list[float]()
    for number in range(REQUESTS + WARM_UP):
        started = time.perf_counter()
        ask(there, server, number)
        taken.append((time.perf_counter() - started) * 1000)
    there.close()
    return taken[WARM_UP:]


def filled(template: object, **values: object) -> str:
    text = str(template)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


@contextmanager
def running(name: str, server: Server, url: str) -> Iterator[int]:
    """Its port, once it is up and configured."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    command = [filled(part, url=url, port=port) for part in server.command]
    log = (RIVALS / f"{name}_server.log").open("w")
    process = subprocess.Popen(
        ["taskset", "-c", "1", *command],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-x"},
        stdout=log,
        stderr=log,
    )
    try:
        _await(process, port, server.health)
        if server.configure:
            there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            body = filled(json.dumps(server.configure), url=url)
            there.request("POST", "/configure", body, {"Content-Type": "application/json"})
            there.getresponse().read()
        yield port
    finally:
        process.kill()
        process.wait()
        log.close()


def _await(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            there.request("GET", path)
            there.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no server at {path} within {START_SECONDS:.0f} s")


def passing(bench: Bench, rounds: int) -> Iterator[Row]:
    """Direct and through each, in turn; added is the difference of medians of one round."""
    os.sched_setaffinity(0, {0})
    bench.endpoint.control(Settings())
    names = [name for name in bench.names if name in SERVERS]
    rows = {n: Row(metric="passing", case="plain model", contender=n) for n in names}
    for _ in range(rounds):
        random.Random(len(names)).shuffle(names)
        for name in names:
            try:
                with running(name, SERVERS[name], bench.endpoint.url()) as port:
                    direct = latencies(bench.endpoint.port, None)
                    through = latencies(port, SERVERS[name])
            except (RuntimeError, OSError) as error:
                rows[name].note = str(error)
                continue
            added = median(through) - median(direct)
            rows[name].add(
                {
                    "added ms": added,
                    "direct ms": median(direct),
                    "added ms, 95th of 100": quantiles(through, n=20)[-1] - median(direct),
                }
            )
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    yield from rows.values()
