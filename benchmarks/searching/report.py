"""What the search benchmark prints: a table a metric, accuracy against tokens, floors; all of it as
JSON; and a picture.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contenders import RIVALS
from benchmarks.overhead.metrics import Row
from benchmarks.overhead.report import print_rows, rows_as_json
from benchmarks.overhead.verdicts import Verdict
from benchmarks.searching.efficiency import Setting
from benchmarks.searching.equal import Comparison, Ratio, Spot

PYTHON = RIVALS / "pictures" / "bin" / "python"
CURVE = Path(__file__).with_name("curve.py")
RIVAL_POINTS = (
    ("best of N, last", 16),
    ("best of N, last", 64),
    ("best of N, min", 64),
    ("best of N, mean", 64),
)
"""Whose accuracy is to be equalled: the line, and its budget."""
FLOOR = RIVAL_POINTS[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What one setting came to."""

    setting: Setting
    curves: Mapping[str, Sequence[Spot]]
    comparison: Comparison

    def ratios(self) -> dict[str, list[Ratio]]:
        """By line, to each of the rivals."""
        known = [(name, size) for name, size in RIVAL_POINTS if self._has(name, size)]
        return {
            line: [self.comparison.ratio(line, name, size) for name, size in known]
            for line in self.curves
        }

    def as_json(self) -> dict[str, object]:
        return {
            "setting": asdict(self.setting),
            "curves": {name: list(map(asdict, spots)) for name, spots in self.curves.items()},
            "ratios": {name: list(map(str, ratios)) for name, ratios in self.ratios().items()},
        }

    def _has(self, name: str, size: int) -> bool:
        return any(spot.budget == size for spot in self.curves.get(name, ()))


def floor_ratios(found: Sequence[Efficiency]) -> dict[str, Ratio]:
    """Of the first setting."""
    first = found[0] if found else None
    if first is None or FLOOR[0] not in first.curves:
        return {}
    if not any(spot.budget == FLOOR[1] for spot in first.curves[FLOOR[0]]):
        return {}
    return {line: first.comparison.ratio(line, *FLOOR) for line in first.curves}


def print_report(
    rows: Sequence[Row],
    found: Sequence[Efficiency],
    floors: Sequence[Verdict],
    machine: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    print(f"machine: {machine}")
    print_rows(rows_as_json(rows))
    for each in found:
        _print_efficiency(each)
    print()
    for verdict in floors:
        met = {True: "met", False: "NOT met", None: "?"}[verdict.met]
        print(f"floor {met}: {verdict.floor} ({verdict.found})")
    if as_json:
        efficiency = {each.setting.name: each.as_json() for each in found}
        told: dict[str, object] = {"machine": machine, "metrics": rows_as_json(rows)}
        told |= {"efficiency": efficiency, "floors": [asdict(verdict) for verdict in floors]}
        print(json.dumps(told))


def _print_efficiency(each: Efficiency) -> None:
    oracle, setting = each.setting.oracle, each.setting
    print(
        f"\n{setting.name}: {setting.items} items of {oracle.depth} steps, p of a step "
        f"Beta({oracle.alpha:g}, {oracle.beta:g}), one sample right {oracle.once:.1%}; noise "
        f"{oracle.noise:.3f}, AUC {oracle.auc}; trees go by the {setting.aggregate} score"
    )
    ratios = each.ratios()
    heads = "; ".join(f"{size} by {name.split(', ')[1]}" for name, size in RIVAL_POINTS)
    print(
        f"  budget: right [Wilson 95 %], tokens, passes; then tokens over those of best of {heads}"
    )
    for name, spots in each.curves.items():
        print(f"  {name:20} " + " / ".join(map(str, ratios[name])))
        for spot in spots:
            print(
                f"    {spot.budget:4}: {spot.accuracy:.3f} [{spot.interval.low:.3f}, "
                f"{spot.interval.high:.3f}], {spot.tokens:.1f}, {spot.passes:.1f}"
            )


def panel(title: str, curves: Mapping[str, Sequence[Spot]], x: str) -> dict[str, object]:
    """Of a picture; `x` is the spots' "tokens" or "budget"."""
    told = {name: [asdict(spot) for spot in spots] for name, spots in curves.items()}
    return {"title": title, "x": x, "curves": told}


def draw(panels: Sequence[Mapping[str, object]], *files: Path) -> str:
    """Write the picture; what there is to know of it."""
    if not PYTHON.exists():
        return "no picture: run `make .rivals/pictures/ready`"
    files[0].parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([PYTHON, CURVE, *files], input=json.dumps(panels), text=True, check=True)
    return f"picture: {', '.join(map(str, files))}"
