"""The search trees of a run in Graphviz' language."""

from __future__ import annotations

from collections.abc import Iterator

from ponder.orchestrator.inspecting.drawing import colour
from ponder.orchestrator.inspecting.forest import GrownStep, GrownTree
from ponder.orchestrator.inspecting.page import grown_trees
from ponder.orchestrator.pictures import quoted
from ponder.orchestrator.trace import Trace

_LONGEST = 40
"""Characters of a step that its node shows."""


def trees_dot(trace: Trace) -> str:
    """A digraph with a cluster a tree.

    Raises:
        InputError: no search grew a tree in this run, or the trace does not tell how.
    """
    lines = ["digraph trees {", "  rankdir=LR;", "  node [shape=box, style=filled];"]
    for place, tree in enumerate(grown_trees(trace)):
        lines += [f"  subgraph cluster{place} {{", f"    label={quoted(tree.node)};"]
        lines += [f"    {line}" for line in _lines(tree, f"t{place}n")]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _lines(tree: GrownTree, prefix: str) -> Iterator[str]:
    chosen = set(tree.above(tree.chosen))
    for number, step in enumerate(tree.steps):
        bold = ", penwidth=3" if number in chosen else ""
        label = quoted(_label(tree, step))
        fill = colour(step.value)
        ink = "white" if step.value is not None and step.value < 0.5 else "black"
        look = f'fillcolor="{fill}", fontcolor={ink}{bold}'
        yield f"{prefix}{number} [label={label}, {look}];"
        if step.parent is not None:
            style = " [penwidth=3]" if number in chosen else ""
            yield f"{prefix}{step.parent} -> {prefix}{number}{style};"


def _label(tree: GrownTree, step: GrownStep) -> str:
    if step.parent is None:
        return tree.node
    said = " ".join(step.text.replace("\0", " ").split())
    said = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 3]}..."
    value = "-" if step.value is None else f"{step.value:.2f}"
    # Graphviz reads entities of HTML in labels.
    shown = said.encode("utf-8", "replace").decode().replace("&", "&amp;")
    return f"{shown}\n{step.order}: {value}, {step.tokens} tokens, {step.end}"
