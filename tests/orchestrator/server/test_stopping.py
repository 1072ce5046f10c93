"""A server process that is told to stop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_faults import until

SCRIPT = Path(__file__).parent / "slow_server.py"
ROOT = Path(__file__).parents[3]
Reply = tuple[int, str, dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    child: subprocess.Popen[str]
    url: str

    def get(self, route: str) -> Reply:
        return self._open(urllib.request.Request(f"{self.url}/{route}"))

    def ask(self, seed: int, **more: Any) -> Reply:
        turns = [{"role": "user", "content": "What is 2 and 3?"}]
        body = {"model": "scripted", "messages": turns, "seed": seed, **more}
        url = f"{self.url}/v1/chat/completions"
        return self._open(urllib.request.Request(url, json.dumps(body).encode()))

    def under_way(self) -> int:
        return int(json.loads(self.get("healthz")[1])["requests_under_way"])

    def ends(self) -> tuple[int, str]:
        """Exit code, and the last line it said."""
        said, _ = self.child.communicate(timeout=20)
        return self.child.returncode, said.splitlines()[-1]

    def _open(self, request: urllib.request.Request) -> Reply:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read().decode(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)


@contextmanager
def process(drain: float) -> Generator[Process]:
    command = [sys.executable, str(SCRIPT), str(drain)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            assert child.stdout is not None
            found = re.search(r"http://\S+(?=/v1)", child.stdout.readline())
            assert found
            yield Process(child=child, url=found[0])
        finally:
            child.kill()


@contextmanager
def asking(server: Process, *asked: dict[str, Any]) -> Generator[list[Future[Reply]]]:
    """Requests under way."""
    with ThreadPoolExecutor(len(asked)) as pool:
        running = [pool.submit(server.ask, **each) for each in asked]
        until(lambda: server.under_way() == len(asked))
        yield running


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_end_and_new_ones_are_sent_away(how: signal.Signals) -> None:
    asked: list[dict[str, Any]] = [
        {"seed": 12},
        {"seed": 12, "stream": True},
        {"seed": 12, "model": "two"},
    ]
    with process(20) as server, asking(server, *asked) as running:
        server.child.send_signal(how)
        until(lambda: server.get("healthz")[0] == 503)
        assert json.loads(server.get("healthz")[1])["status"] == "draining"
        status, body, headers = server.ask(0)
        assert (status, headers["retry-after"]) == (503, "20")
        assert json.loads(body)["error"]["code"] == "server_stopping"
        assert server.get("metrics")[0] == 200
        whole, streamed, thought = (request.result() for request in running)
        assert (whole[0], streamed[0], thought[0]) == (200, 200, 200)
        assert streamed[1].endswith("data: [DONE]\n\n")
        assert server.ends() == (0, "branches 0")


def test_who_is_still_there_when_time_is_up_is_told() -> None:
    asked: list[dict[str, Any]] = [
        {"seed": 900},
        {"seed": 900, "stream": True},
        {"seed": 900, "model": "two"},
    ]
    with process(0.2) as server, asking(server, *asked) as running:
        server.child.send_signal(signal.SIGTERM)
        whole, streamed, thought = (request.result() for request in running)
        for status, body, headers in (whole, thought):
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(body)["error"]["code"] == "server_stopped"
            assert "0.2 seconds (--drain)" in body
        events = [line for line in streamed[1].split("\n\n") if line.startswith("data: ")]
        assert json.loads(events[-1][6:])["error"]["code"] == "server_stopped"
        assert json.loads(events[-2][6:])["choices"][0]["delta"]["content"]
        assert server.ends() == (0, "branches 0")


def test_a_second_signal_waits_for_nobody() -> None:
    with process(600) as server, asking(server, {"seed": 900}) as running:
        server.child.send_signal(signal.SIGINT)
        until(lambda: server.get("healthz")[0] == 503)
        server.child.send_signal(signal.SIGINT)
        assert running[0].result()[0] == 503
        assert server.ends() == (0, "branches 0")


def test_an_idle_server_stops_at_once() -> None:
    with process(600) as server:
        server.child.send_signal(signal.SIGTERM)
        assert server.ends() == (0, "branches 0")
