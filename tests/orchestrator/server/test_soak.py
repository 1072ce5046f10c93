"""A short soak of a real server process: what survives is right, and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
@pytest.mark.parametrize(("model", "requests"), [("scripted", 200), ("tiny", 200)])
def test_nothing_is_left_of_clients_that_leave(model: str, requests: int) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--model", model]
    done = subprocess.run(
        [*command, "--requests", str(requests), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["requests"] == requests
    assert told["left early"] > 30
    assert {"200", "400"} <= set(told["statuses"])
