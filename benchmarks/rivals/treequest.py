"""TreeQuest's bookkeeping: CPU seconds of growing a tree by steps that cost nothing.

    python -m benchmarks.rivals.treequest ALGORITHM NODES SECONDS

prints one JSON object: nodes grown until NODES or SECONDS of CPU, and the seconds. Standard library
and treequest only: it runs in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from random import Random
from typing import Any

import treequest

ALGORITHMS = {
    "ABMCTSA": treequest.ABMCTSA,
    "StandardMCTS": treequest.StandardMCTS,
    "TreeOfThoughtsBFS": treequest.TreeOfThoughtsBFSAlgo,
}


def grown(name: str, nodes: int, seconds: float) -> dict[str, object]:
    dice = Random(0)

    def generate(parent: str | None) -> tuple[str, float]:
        return "x", dice.random()

    algorithm: Any = ALGORITHMS[name]()  # Any: the algorithms share no typed base here
    state, started, spent = algorithm.init_tree(), time.process_time(), 0.0
    there = 0
    while there < nodes and spent < seconds:
        for _ in range(10):
            state = algorithm.step(state, {"policy": generate})
        spent = time.process_time() - started
        there = len(algorithm.get_state_score_pairs(state))
    return {"nodes": there, "seconds": spent, "version": version("treequest")}


if __name__ == "__main__":
    print(json.dumps(grown(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
