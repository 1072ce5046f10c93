"""The search trees of a run as one HTML page that needs nothing else: no network, no library.

What a model wrote goes into the page in two ways only: escaped, or as JSON in a block that is never
run, from where the script copies it as text. A policy in the page lets the one script run, by its
hash, and nothing else, neither handlers in attributes nor anything from elsewhere.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

from ponder.orchestrator.files import check_writable, write_whole
from ponder.orchestrator.inspecting.drawing import colour, svg
from ponder.orchestrator.inspecting.figures import figures
from ponder.orchestrator.inspecting.folding import MOST, folded, whole
from ponder.orchestrator.inspecting.forest import GrownTree, forest
from ponder.orchestrator.inspecting.look import SCRIPT, STYLE
from ponder.orchestrator.trace import Trace
from ponder.runtime import InputError

FOLD_FROM = 150
"""Nodes from which a tree is shown folded at first."""


def trees_page(trace: Trace) -> str:
    """The page; ASCII alone.

    Raises:
        InputError: no search grew a tree in this run, or the trace does not tell how.
    """
    trees = grown_trees(trace)
    question, answer = trace.events[0]["question"]["text"], trace.events[-1]["answer"]
    said = "no answer" if answer is None else f"answer {answer}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">',
        f"<title>{_shown(_short(question))}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{_shown(_short(question, 400))}</h1>",
        f"<p>{_shown(said)}</p><p>{_scale()}</p></header>",
        "<main><div>",
        *(_section(i, tree) for i, tree in enumerate(trees)),
        '</div><aside id="told"><p>Point at a node to read its path, click to keep it.</p></aside>',
        "</main>",
        f'<script type="application/json" id="steps">{_data(trees)}</script>',
        f"<script>{SCRIPT}</script></body></html>",
    ]
    text = "\n".join(parts) + "\n"
    return text.encode("ascii", "xmlcharrefreplace").decode()


def write_trees_page(trace: Trace, path: Path) -> None:
    """`trees_page`, into a file, all or nothing.

    Raises:
        InputError: as `trees_page`, or nothing can be written there.
        PonderError: the system refused to write.
    """
    check_writable(path, "page")
    write_whole(path, trees_page(trace), "page")


def grown_trees(trace: Trace) -> list[GrownTree]:
    """Those of the run. Raises `InputError` where there is none to draw."""
    trees = [tree for tree in forest(trace) if len(tree.steps) > 1]
    if not trees:
        raise InputError(
            "no search grew a tree in this run; give the trace of a strategy with one, such as "
            "astar or beam"
        )
    return trees


def _section(place: int, tree: GrownTree) -> str:
    told = figures(tree)
    kept = f"{told.kept.tokens:,} of {told.grown.tokens:,} tokens on paths kept"
    about = f"{told.grown.steps:,} steps, {kept}, {told.expansions:,} expansions"
    fold = " checked" if told.grown.steps >= FOLD_FROM else ""
    last = len(tree.steps) - 1
    return "\n".join(
        [
            f'<section data-tree="{place}"><h2>{_shown(tree.node)}</h2><p>{about}</p>',
            f'<input type="checkbox" id="fold{place}" class="fold"{fold}>',
            f'<label for="fold{place}">fold all but the best {MOST} paths</label>',
            f'<label>growth <input type="range" min="0" max="{last}" value="{last}"></label>',
            f'<output>{last:,}</output><div class="tree">',
            svg(tree, whole(tree), "whole"),
            svg(tree, folded(tree), "folded"),
            "</div></section>",
        ]
    )


def _data(trees: Sequence[GrownTree]) -> str:
    """Safe inside a script block: no character that could end it, or begin a comment."""
    found = [[list(_told(tree, i)) for i in range(len(tree.steps))] for tree in trees]
    text = json.dumps(found, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _told(tree: GrownTree, number: int) -> Iterator[object]:
    """As the script takes it apart."""
    step = tree.steps[number]
    yield step.parent
    yield step.text
    yield [
        f"step {step.order} to grow, depth {len(step.place)}, {step.end}",
        f"{step.tokens} tokens drawn, {step.ahead} ahead, {step.judged} for its verdict",
        f"value {_number(step.value)}, score {_number(step.score)}",
        *([step.failure] if step.failure else []),
    ]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _policy() -> str:
    """Run our script and use our style, by their hashes; load nothing."""
    script, style = (
        f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (SCRIPT, STYLE)
    )
    return f"default-src 'none'; script-src {script}; style-src {style}"


def _scale() -> str:
    cells = "".join(
        f'<svg width="14" height="10"><rect width="14" height="10" fill="{colour(i / 8)}"/></svg>'
        for i in range(9)
    )
    told = "circles are steps, larger with more tokens; bold is the path of the answer"
    return f'<span class="scale">value 0 {cells} 1; {told}</span>'


def _shown(text: str) -> str:
    """Escaped; halves of surrogate pairs, which a model can spell, are no text."""
    return escape(text.encode("utf-8", "replace").decode())


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
