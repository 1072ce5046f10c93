"""Pictures of a strategy as text: Mermaid and Graphviz."""

from __future__ import annotations

from collections.abc import Callable

from ponder.orchestrator.expression import Expression
from ponder.orchestrator.graphs import Edge, Graph, graph


def mermaid(expression: Expression) -> str:
    """A Mermaid flowchart."""
    drawn = graph(expression)
    place = _places(drawn)
    lines = ["flowchart LR", "  start([question])"]
    for node in drawn.nodes:
        left, right = ("{", "}") if node.operation == "when" else ("[", "]")
        lines.append(f'  {place(node.name)}{left}"{_mermaid_text(node.name, node.text)}"{right}')
    lines.append("  finish([answer])")
    lines += [
        f"  {place(e.source, 'start')} -->|{_label(e)}| {place(e.target, 'finish')}"
        for e in drawn.edges
    ]
    return "\n".join(lines) + "\n"


def dot(expression: Expression) -> str:
    """A Graphviz digraph."""
    drawn = graph(expression)
    place = _places(drawn)
    lines = [
        "digraph strategy {",
        "  rankdir=LR;",
        "  start [label=question, shape=oval];",
        "  finish [label=answer, shape=oval];",
    ]
    for node in drawn.nodes:
        shape = "diamond" if node.operation == "when" else "box"
        label = quoted(f"{node.name}\n{node.text}")
        lines.append(f"  {place(node.name)} [label={label}, shape={shape}];")
    lines += [
        f"  {place(e.source, 'start')} -> {place(e.target, 'finish')} [label={quoted(_label(e))}];"
        for e in drawn.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _places(drawn: Graph) -> Callable[..., str]:
    """Names may be words of the picture's own language; places never are."""
    numbers = {node.name: f"n{i}" for i, node in enumerate(drawn.nodes)}

    def place(name: str, otherwise: str = "") -> str:
        return numbers[name] if name else otherwise

    return place


def _label(edge: Edge) -> str:
    return f"{edge.label}: {edge.port.value}" if edge.label else edge.port.value


def _mermaid_text(name: str, text: str) -> str:
    escaped = "".join(c if c.isalnum() or c in " _-.,=()[]" else f"#{ord(c)};" for c in text)
    return f"{name}<br/>{escaped}"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
