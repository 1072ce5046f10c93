"""The processes of the orchestration benchmark: the endpoint on core 0, contenders one at a time on
core 1; and one measurement with them.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.contenders import RIVALS, ROOT, Contender, Failure, Late, Running
from benchmarks.overhead.script import Settings
from benchmarks.rivals.asking import Ask, encode, total_limit

GRACE = 5.0
"""Seconds that a contender may take above its limit before its process counts as hanging."""
PREPARE_SECONDS = 90.0
OWN = "ponder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    contender: Contender
    imports: str
    """What a user of it imports."""
    packages: Path
    """Where it is installed."""


def rival(name: str, imports: str) -> Rival:
    home = RIVALS / name
    arguments = (f"benchmarks.rivals.{name}",)
    python = home / "bin" / "python"
    return Rival(
        contender=Contender(name=name, python=python, arguments=arguments, core=1),
        imports=imports,
        packages=home,
    )


# Ponder's own environment here has torch, which the `openai` extra does not bring: it is measured
# where only that extra is.
CONTENDERS: dict[str, Rival] = {
    OWN: replace(
        rival("ponder", "import ponder.orchestrator, ponder.runtime.remote.connect"),
        contender=Contender(
            name=OWN, python=Path(sys.executable), arguments=("benchmarks.overhead.own",), core=1
        ),
    ),
    "its_hub": rival("its_hub", "import its_hub; import its_hub.core.lms.openai_lm"),
    "archon": rival("archon", "from archon.completions.archon import Archon"),
    "optillm": rival("optillm", "import optillm.server"),
}


class Endpoint(AbstractContextManager["Endpoint"]):
    """The scripted endpoint's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.overhead.endpoint"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout is None:
            raise Failure("the endpoint has no output")
        self.port = int(self._process.stdout.readline())

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/v1"

    def control(self, settings: Settings) -> dict[str, Any]:  # Any: JSON
        """Start counting anew; what was counted until now."""
        there = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        there.request("POST", "/control", json.dumps(asdict(settings)))
        told: dict[str, Any] = json.loads(there.getresponse().read())
        there.close()
        return told

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(slots=True, kw_only=True)
class Measured:
    """One measurement; `failure` says why there is none."""

    seconds: float = 0.0
    cpu: float = 0.0
    answered: Sequence[dict[str, Any]] = ()  # Any: JSON, as `Answered`
    counts: dict[str, Any]  # Any: JSON, as `Counts`
    failure: str | None = None
    hangs: bool = False


class Bench:
    """Contenders' processes, started when needed and again after one hung."""

    def __init__(self, endpoint: Endpoint, names: Sequence[str]) -> None:
        self.endpoint = endpoint
        self.missing = {
            name: f"not installed: run `make .rivals/{name}/ready`"
            for name in names
            if not CONTENDERS[name].contender.installed
        }
        self.names = [name for name in names if name not in self.missing]
        self.versions: dict[str, object] = {}
        self._running: dict[str, Running] = {}

    def measure(self, name: str, ask: Ask, settings: Settings) -> Measured:
        """Raises nothing: who fails or hangs is told so, and starts anew."""
        try:
            running = self._started(name)
            self.endpoint.control(Settings())
            running.ask(encode(ask), PREPARE_SECONDS)
            self.endpoint.control(settings)
            told: dict[str, Any] = running.ask('{"go": true}', total_limit(ask) + GRACE)
        except Failure as failure:
            self._stop(name)
            counts = self.endpoint.control(Settings())
            return Measured(counts=counts, failure=str(failure), hangs=isinstance(failure, Late))
        counts = self.endpoint.control(Settings())
        if any(each["late"] for each in told["answered"]):
            self._stop(name)
        return Measured(
            seconds=told["seconds"], cpu=told["cpu"], answered=told["answered"], counts=counts
        )

    def close(self) -> None:
        for name in list(self._running):
            self._stop(name)

    def _started(self, name: str) -> Running:
        if name not in self._running:
            self._running[name] = Running(CONTENDERS[name].contender)
            self.versions[name] = self._running[name].versions
        return self._running[name]

    def _stop(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running.close()
