"""Ponder's orchestration beside its-hub, archon-ai and optillm, on one scripted endpoint.

    make clients                              # once: an environment a rival, under .rivals/
    .venv/bin/python benchmarks/orchestration.py --json

prints a table a metric and, as its last line, JSON with all numbers, ratios and floors. The
endpoint runs on core 0 and counts what is true; contenders take turns on core 1, in random order
within a round. `benchmarks/overhead/metrics.py` says what is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.overhead import metrics
from benchmarks.overhead.alone import alone
from benchmarks.overhead.bench import CONTENDERS, Bench, Endpoint
from benchmarks.overhead.installed import installed
from benchmarks.overhead.passing import passing
from benchmarks.overhead.report import document, machine, print_report

Metric = Callable[[Bench, int], Iterator[metrics.Row]]
METRICS: dict[str, Metric] = {
    "alone": alone,
    "cpu": metrics.cpu,
    "flight": metrics.flight,
    "counted": metrics.counted,
    "faults": metrics.faults,
    "determinism": metrics.determinism,
    "many": metrics.many,
    "installed": installed,
    "passing": passing,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def main() -> None:
    given, rows = arguments(), list[metrics.Row]()
    with Endpoint() as endpoint:
        bench = Bench(endpoint, given.contenders)
        before = machine()
        try:
            for name in given.metrics:
                for row in METRICS[name](bench, given.rounds):
                    print(row, file=sys.stderr, flush=True)
                    rows.append(row)
        finally:
            bench.close()
    loads = {**before, "load average at the end": machine()["load average"]}
    print_report(document(rows, bench.missing, bench.versions, loads), as_json=given.json)


if __name__ == "__main__":
    main()
