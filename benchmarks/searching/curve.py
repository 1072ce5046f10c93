"""Accuracy against cost as a picture: `python curve.py FILE ...` takes panels as JSON from standard
input and writes each file in the format of its name. Needs matplotlib and nothing of Ponder: it
runs in an environment of its own (`make .rivals/pictures/ready`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "ponder"

# Okabe and Ito's colours: told apart by nearly everybody, in grey too by marker and dashes.
STYLES = {
    "majority vote": ("#999999", "s", ":"),
    "weighted vote, last": ("#999999", "D", "--"),
    "best of N, last": ("#000000", "o", "-"),
    "best of N, min": ("#000000", "v", "--"),
    "best of N, mean": ("#000000", "^", ":"),
    "beam": ("#E69F00", "o", "-"),
    "dvts": ("#E69F00", "s", "--"),
    "rebase": ("#009E73", "o", "-"),
    "astar, rise": ("#0072B2", "o", "-"),
    "astar, drop": ("#56B4E9", "s", "--"),
    "mcts": ("#CC79A7", "o", "-"),
    "ab_mcts": ("#D55E00", "s", "--"),
    "particle filter": ("#0072B2", "o", "-"),
    "particle Gibbs": ("#CC79A7", "s", "--"),
    "parallel tempering": ("#D55E00", "^", ":"),
}
XS = {
    "tokens": ("policy tokens a question (log scale)", (8, 16, 32, 64, 128, 256, 512, 1024)),
    "budget": ("samples or particles (log scale)", (1, 2, 4, 8, 16, 32, 64)),
}
Curves = dict[str, list[dict[str, Any]]]  # Any: numbers, and an interval


def draw(axes: Any, title: str, x: str, curves: Curves) -> None:  # Any: matplotlib's, untyped here
    for name, spots in curves.items():
        colour, marker, dashes = STYLES.get(name, ("#444444", "x", "-."))
        accuracy = [spot["accuracy"] for spot in spots]
        spread = [
            [a - spot["interval"]["low"] for a, spot in zip(accuracy, spots, strict=True)],
            [spot["interval"]["high"] - a for a, spot in zip(accuracy, spots, strict=True)],
        ]
        axes.errorbar(
            [spot[x] for spot in spots],
            accuracy,
            yerr=spread,
            label=name,
            color=colour,
            marker=marker,
            linestyle=dashes,
            markersize=4,
            linewidth=1.3,
            elinewidth=0.5,
            capsize=1.5,
        )
    axes.set_xscale("log", base=2)
    label, ticks = XS[x]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label)


def main(files: list[str]) -> None:
    shown: list[dict[str, Any]] = json.load(sys.stdin)  # Any: title, x and curves
    columns = min(3, len(shown) + 1)
    rows = -(-(len(shown) + 1) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.3 * columns, 3.9 * rows), sharey=True, squeeze=False
    )
    panels = list(grid.flat)
    for axes, panel in zip(panels, shown, strict=False):
        draw(axes, **panel)
    for row in grid:
        row[0].set_ylabel("right answers, Wilson 95 %")
    handles, names = panels[0].get_legend_handles_labels()
    for axes in panels[len(shown) :]:
        axes.axis("off")
    panels[-1].legend(handles, names, loc="center", frameon=False, fontsize=9)
    figure.tight_layout()
    for file in files:
        stamp = {"Date": None} if file.endswith(".svg") else {"Software": None}
        figure.savefig(file, dpi=110, metadata=stamp)


if __name__ == "__main__":
    main(sys.argv[1:])
