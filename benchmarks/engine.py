"""Ponder's engine beside vLLM, llama.cpp and Hugging Face transformers on this machine's CPU.

    make rivals                               # once: an environment a rival, under .rivals/
    .venv/bin/python benchmarks/engine.py --json

prints a table, and as its last line JSON: medians in tokens a second and their spread, ratios, and
whether the floors of the design are met. `benchmarks/workloads.py` says what is measured and which
tokens count. Each contender is a process of its own; they take turns within a round.
`--only start|memory|growth` measures those instead.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main

if __name__ == "__main__":
    main(__doc__)
