"""On real grader pairs ours agrees at least as well as math-verify alone, and each difference is
adjudicated by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAIRS = (
    Path(os.environ.get("PONDER_DATA", ROOT.parent / "shared" / "data"))
    / "math500_grader_pairs.jsonl"
)


@pytest.mark.skipif(not PAIRS.exists(), reason="needs the shared data")
def test_agrees_at_least_as_well_as_math_verify_alone() -> None:
    script = ROOT / "benchmarks" / "grader_pairs.py"
    run = subprocess.run(
        [sys.executable, str(script), "--data", str(PAIRS)], capture_output=True, text=True
    )
    report = json.loads(run.stdout)
    assert report["unexplained"] == []
    assert run.returncode == 0
    assert report["accepted"]["rewritten"]["rows"] == 250
    assert report["accepted"]["rewritten"]["ours"] >= report["accepted"]["rewritten"]["alone"]
    known = json.loads(script.with_name("grader_pairs_adjudicated.json").read_text("utf-8"))
    assert set(known["disagreements"]) == set(report["disagreements"])
    assert {case["right"] for case in known["disagreements"].values()} == {"ours"}
