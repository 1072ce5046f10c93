"""Ponder's searches: what they cost beside their model, and what they save of it.

    make searches                             # once: TreeQuest, its-hub, and a place for pictures
    .venv/bin/python benchmarks/search.py --json

prints a table a metric (`benchmarks/searching/` says what each is), accuracy against tokens on a
calibrated oracle, and as its last line JSON with the floors of the design. `--quick` tries all of
it in seconds; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.overhead.metrics import Row
from benchmarks.overhead.report import machine
from benchmarks.searching import rivals
from benchmarks.searching.bookkeeping import bookkeeping
from benchmarks.searching.efficiency import runs, settings
from benchmarks.searching.equal import Comparison, curves
from benchmarks.searching.lines import searches
from benchmarks.searching.prefill import prefill
from benchmarks.searching.report import Efficiency, draw, floor_ratios, panel, print_report
from benchmarks.searching.straggler import straggler
from benchmarks.searching.verdicts import verdicts

METRICS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "bookkeeping": bookkeeping,
    "prefill": prefill,
    "straggler": straggler,
    "treequest": rivals.treequest,
    "its_hub": rivals.its_hub,
}
EFFICIENCY = "efficiency"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [*METRICS, EFFICIENCY]
    parser.add_argument("--metrics", nargs="+", choices=everything, default=everything)
    parser.add_argument("--items", type=int, default=300, help="of the oracle's first setting")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--picture", type=Path, help="write FILE.png and FILE.svg")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def measured(names: list[str], *, quick: bool) -> Iterator[Row]:
    for name in names:
        if name in METRICS:
            for row in METRICS[name](quick):
                print(row, file=sys.stderr, flush=True)
                yield row


def efficiency(items: int, *, quick: bool) -> Iterator[Efficiency]:
    for setting in settings(items, quick=quick):
        found = runs(setting, searches)
        told = Efficiency(setting=setting, curves=curves(found), comparison=Comparison(found))
        print(json.dumps(told.as_json()), file=sys.stderr, flush=True)
        yield told


def main() -> None:
    given, before = arguments(), machine()
    rows = list(measured(given.metrics, quick=given.quick))
    found = list(efficiency(given.items, quick=given.quick)) if EFFICIENCY in given.metrics else []
    told = {**before, "load average at the end": machine()["load average"]}
    print_report(rows, found, verdicts(rows, floor_ratios(found)), told, as_json=given.json)
    if given.picture is not None and found:
        panels = [panel(each.setting.name, each.curves, "tokens") for each in found]
        files = [Path(f"{given.picture}.{kind}") for kind in ("png", "svg")]
        print(draw(panels, *files), file=sys.stderr)


if __name__ == "__main__":
    main()
