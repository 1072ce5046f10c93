"""One search tree as SVG: the root at the left, a column a step, the value as colour, tokens as
size, the chosen path in bold. It holds no text of a model; marks name their nodes by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ponder.orchestrator.inspecting.folding import Mark
from ponder.orchestrator.inspecting.forest import GrownTree
from ponder.orchestrator.inspecting.tidy import tidy

COLUMN, ROW, MARGIN = 132, 22, 24
"""Pixels: from step to step, from node to node beside it, around all."""
_COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Of values 0, 1/4, ... 1: told apart by brightness too."""


def svg(tree: GrownTree, marks: Sequence[Mark], kind: str) -> str:
    """An `svg` element.

    Args:
        tree: whose nodes the marks name.
        marks: what is drawn, the root first.
        kind: its class.
    """
    along = tidy([mark.children for mark in marks])
    spots = [
        (MARGIN + mark.depth * COLUMN, MARGIN + round(place * ROW, 1))
        for mark, place in zip(marks, along, strict=True)
    ]
    width = max(x for x, _ in spots) + COLUMN
    height = max(y for _, y in spots) + MARGIN
    chosen = set(tree.above(tree.chosen))
    most = max(step.tokens for step in tree.steps) or 1
    size = f'width="{width}" height="{height:g}" viewBox="0 0 {width} {height:g}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="{escape(kind)}" {size}>']
    for mark, spot in zip(marks, spots, strict=True):
        lines += [_edge(marks[c], spot, spots[c], chosen) for c in mark.children]
    for mark, spot in zip(marks, spots, strict=True):
        lines += _mark(tree, mark, spot, chosen, most)
    return "\n".join([*lines, "</svg>"])


def colour(value: float | None) -> str:
    """Of a value in [0, 1]; white where there is none."""
    if value is None:
        return "#ffffff"
    at = min(max(value, 0.0), 1.0) * (len(_COLOURS) - 1)
    left = min(int(at), len(_COLOURS) - 2)
    mixed = (
        round(a + (b - a) * (at - left))
        for a, b in zip(_COLOURS[left], _COLOURS[left + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _edge(below: Mark, start: tuple[int, float], end: tuple[int, float], chosen: set[int]) -> str:
    (x, y), (to, down) = start, end
    bend = (x + to) // 2
    kind = "edge chosen" if below.number in chosen else "edge"
    return (
        f'<path class="{kind}" data-o="{below.order}" '
        f'd="M{x} {y:g}C{bend} {y:g} {bend} {down:g} {to} {down:g}"/>'
    )


def _mark(
    tree: GrownTree, mark: Mark, spot: tuple[int, float], chosen: set[int], most: int
) -> Iterator[str]:
    x, y = spot
    at = f'transform="translate({x} {y:g})"'
    if mark.number is None:
        steps = "1 step" if mark.hidden == 1 else f"{mark.hidden:,} steps"
        told = f"+{steps} {mark.tokens:,}t"
        yield f'<g class="stub" data-o="{mark.order}" {at}><path d="M-4 -5L4 0L-4 5z"/>'
        yield f'<text x="8" y="3.5">{told}</text></g>'
        return
    step = tree.steps[mark.number]
    kinds = ["node", escape(step.end), *(["chosen"] if mark.number in chosen else [])]
    radius = 3.5 + 4 * (step.tokens / most) ** 0.5
    name = f'class="{" ".join(kinds)}" data-n="{mark.number}" data-o="{mark.order}" tabindex="0"'
    yield f'<g {name} {at}><circle r="{radius:.1f}" fill="{colour(step.value)}"/>'
    beside = f'x="{radius + 3:.1f}" y="3.5"'
    if mark.children:  # edges go on to the right
        beside = f'class="before" x="{-radius:.1f}" y="-4.5"'
    if mark.number == 0:
        beside = f'x="{-MARGIN + 4}" y="-8"'
    yield f"<text {beside}>{_label(tree, mark.number)}</text></g>"


def _label(tree: GrownTree, number: int) -> str:
    step = tree.steps[number]
    if number == 0:
        return escape(tree.node)
    value = "-" if step.value is None else f"{step.value:.2f}"
    end = "" if step.end == "expanded" else f" {step.end}"
    return escape(f"{value} {step.tokens}t{end}")
