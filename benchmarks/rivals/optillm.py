"""optillm as a contender: its proxy in a process of its own, asked over HTTP by threads.

Self-consistency is its `majority_voting`, best-of-N its `bon`, whose N is a flag of the server.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.rivals.asking import Answered, Ask, boxed, serve
from benchmarks.rivals.threads import answer_all

START_SECONDS = 60.0


def proxy(url: str, best_of: int, port: int) -> subprocess.Popen[bytes]:
    """Run optillm's server in front of `url`, once it answers."""
    program = [sys.executable, str(Path(sys.executable).with_name("optillm"))]
    given = {"--base-url": url, "--port": port, "--best-of-n": best_of, "--log": "error"}
    process = subprocess.Popen(
        [*program, *(str(part) for pair in given.items() for part in pair)],
        env=os.environ | {"OPENAI_API_KEY": "sk-x"},
        stdout=sys.stderr,
    )
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    raise RuntimeError(f"optillm's server did not answer within {START_SECONDS} seconds")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class OptiLLM:
    """An `Asker`."""

    def __init__(self) -> None:
        self.versions = {"optillm": version("optillm"), "openai": version("openai")}
        self._process: subprocess.Popen[bytes] | None = None
        self._made: tuple[str, int] | None = None
        self._port = 0

    @property
    def children(self) -> Sequence[int]:
        return () if self._process is None else (self._process.pid,)

    def prepare(self, ask: Ask) -> None:
        wanted = (ask.url, ask.n)
        if self._made != wanted:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._port = free_port()
            self._process = proxy(ask.url, ask.n, self._port)
            self._made = wanted

    def go(self, ask: Ask) -> list[Answered]:
        return answer_all(ask, lambda question: self._one(question, ask))

    def _one(self, question: str, ask: Ask) -> Answered:
        votes = ask.method == "self_consistency"
        body: dict[str, Any] = {  # Any: JSON
            "model": f"{'majority_voting' if votes else 'bon'}-{ask.model}",
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 64,
        }
        if votes:
            body["k"] = ask.n
        there = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ask.limit + 5)
        fields = {"Authorization": "Bearer sk-x", "Content-Type": "application/json"}
        there.request("POST", "/v1/chat/completions", json.dumps(body), fields)
        reply = there.getresponse()
        raw = reply.read()
        there.close()
        if reply.status != 200:
            return Answered(error=f"status {reply.status}: {raw[:200]!r}")
        told = json.loads(raw)
        usage = told.get("usage", {})
        return Answered(
            answer=boxed(told["choices"][0]["message"]["content"]),
            told=usage.get("total_tokens", usage.get("completion_tokens")),
        )


if __name__ == "__main__":
    serve(OptiLLM)
