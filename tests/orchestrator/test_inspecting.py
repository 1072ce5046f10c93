"""What traces of searches tell: figures that add up, trees read back as they grew, and pictures
that no text of a model can break.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from climbing import climber
from guessing import runtime, shuffled
from test_searching import SEARCHES, searched

from ponder.orchestrator import (
    Budget,
    Expression,
    Result,
    Trace,
    astar,
    beam,
    best,
    judge,
    parallel,
    read_trace,
    sample,
    trace_data,
    trace_table,
    trees_dot,
    trees_page,
    verdicts,
    vote,
    write_trees_page,
)
from ponder.orchestrator.inspecting.drawing import COLUMN, ROW, colour, svg
from ponder.orchestrator.inspecting.figures import figures
from ponder.orchestrator.inspecting.folding import MOST, folded, whole
from ponder.orchestrator.inspecting.forest import GrownTree, forest
from ponder.orchestrator.inspecting.spending import spending
from ponder.runtime import InputError, ScriptedEngine, Usage

SVG = "{http://www.w3.org/2000/svg}"


def solved(strategy: Expression, engine: ScriptedEngine | None = None, seed: int = 0) -> Result:
    made = runtime(engine or climber(), 64).solve("Which?", strategy, seed=seed)
    return asyncio.run(made)


def tree_of(result: Result) -> GrownTree:
    (tree,) = forest(result.trace)
    return tree


@pytest.mark.parametrize("name", SEARCHES)
def test_figures_add_up(name: str) -> None:
    result = searched(SEARCHES[name], climber(), seed=3)
    tree = tree_of(result)
    told = figures(tree)
    assert told.grown.steps == len(tree.steps) - 1
    assert told.grown.steps == sum(a.steps for a in told.ends.values())
    assert told.grown.tokens == sum(a.tokens for a in told.ends.values())
    assert told.grown.tokens + told.ahead == result.usage.policy.decoded
    assert bool(told.ahead) == ("ahead" in name)
    assert told.chosen.steps <= told.kept.steps <= told.grown.steps
    assert 0 < told.chosen.tokens <= told.kept.tokens
    assert told.judged == sum(step.score is not None for step in tree.steps)
    verifier = result.usage.verifier
    opened = next(
        e["usage"]["prompt"]
        for e in result.trace.events
        if e["event"] == "call" and e["purpose"] == "verifier" and e["kind"] == "open"
    )
    assert told.judging + opened == verifier.tokens


@pytest.mark.parametrize("name", SEARCHES)
def test_spending_is_the_runs_usage(name: str) -> None:
    result = searched(SEARCHES[name], climber())
    told = spending(result.trace)
    policy = sum((node.policy.usage for node in told), Usage())
    verifier = sum((node.verifier.usage for node in told), Usage())
    assert (policy, verifier) == (result.usage.policy, result.usage.verifier)
    assert sum(n.policy.calls + n.verifier.calls for n in told) == result.calls


@pytest.mark.parametrize("name", SEARCHES)
def test_trees_are_read_back_as_they_grew(name: str) -> None:
    result = searched(SEARCHES[name], climber(), seed=1)
    tree = tree_of(result)
    for number, step in enumerate(tree.steps):
        assert step.order == number
        for child in step.children:
            assert tree.steps[child].parent == number
            assert tree.steps[child].place[:-1] == step.place
            assert child > number, "a parent grows before its children"
        places = [tree.steps[child].place for child in step.children]
        assert places == sorted(places)
    assert tree.chosen in tree.paths
    said = "".join(tree.steps[i].text for i in list(tree.above(tree.chosen))[::-1])
    chosen = next(
        a.candidate
        for a in result.candidates
        if (a.candidate.source, a.candidate.index) == result.chosen
    )
    assert said == chosen.text
    assert len(tree.paths) == len(result.candidates)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_order_of_growth_does_not_show_the_clock(name: str) -> None:
    engines = [climber(shuffled(salt)) for salt in range(3)]
    pages = {trees_page(searched(SEARCHES[name], engine, seed=5).trace) for engine in engines}
    assert len(pages) == 1


def test_verdicts_of_paths_and_of_judges() -> None:
    search = SEARCHES["astar in parallel"]
    result = solved(search | judge("likelihood") | best())
    said = verdicts(result.trace)
    assert {j.verifier for j in said} == {"process_reward (steps)", "likelihood"}
    paths = [j for j in said if j.verifier == "process_reward (steps)"]
    assert [j.index for j in paths] == list(range(len(result.candidates)))
    counts = {t.verifier: t.verdicts for t in result.judging}
    assert counts["likelihood"] == len(result.candidates)
    assert counts["process_reward (steps)"] == figures(tree_of(result)).judged


def test_two_searches_and_samples_in_one_run() -> None:
    strategy = parallel(SEARCHES["beam"], SEARCHES["astar"], sample(2)) | vote()
    trace = solved(strategy).trace
    trees = forest(trace)
    assert [tree.node for tree in trees] == ["beam", "astar"]
    assert sum(tree.chosen is not None for tree in trees) <= 1
    assert set(trace_data(trace)["nodes"]) == {"beam", "astar", "sample"}
    assert trees_page(trace).count("<section") == 2


def test_equal_steps_of_siblings_are_counted() -> None:
    def stubborn(prompt: str) -> Mapping[str, float]:
        return {"a\n\na\\boxed{aa}": 1.0}

    search = beam("process_reward", width=4, expand=2, step_tokens=20, max_tokens=60, depth=6)
    tree = tree_of(solved(search | best(), climber(script=stubborn)))
    told = figures(tree)
    # Three of the first four, then one of each two.
    assert told.repeated.steps == 3 + 2
    assert told.repeated.tokens == 3 * 3 + 2 * len("a\\boxed{aa}") + 2 * (
        tree.steps[-1].tokens - len("a\\boxed{aa}")
    )


def many() -> Result:
    """A tree of 200 nodes, of which few are complete paths."""
    search = astar(
        "process_reward", expand=6, goals=60, path_cost="drop", step_tokens=20, max_tokens=60
    )
    return solved(search | best())


def test_folding_keeps_the_best_paths_and_counts_the_rest() -> None:
    result = many()
    tree = tree_of(result)
    marks = folded(tree)
    shown = {m.number for m in marks if m.number is not None}
    stubs = [m for m in marks if m.number is None]
    assert marks[0].number == 0
    assert set(tree.above(tree.chosen)) <= shown
    assert all(set(tree.above(leaf)) <= shown for leaf in tree.paths[:MOST])
    assert len(shown) + sum(m.hidden for m in stubs) == len(tree.steps)
    assert sum(m.tokens for m in stubs) + sum(tree.steps[i].tokens for i in shown) == sum(
        s.tokens for s in tree.steps
    )
    assert len(marks) < len(tree.steps)
    assert sorted(c for m in marks for c in m.children) == list(range(1, len(marks)))
    for mark in marks:
        for child in mark.children:
            assert marks[child].depth == mark.depth + 1


def test_the_picture_has_every_node_where_it_belongs() -> None:
    tree = tree_of(many())
    drawn = ElementTree.fromstring(svg(tree, whole(tree), "whole"))
    spots: dict[int, tuple[float, float]] = {}
    for node in drawn.iter(f"{SVG}g"):
        x, y = re.findall(r"[\d.]+", node.attrib["transform"])
        spots[int(node.attrib["data-n"])] = (float(x), float(y))
    assert sorted(spots) == list(range(len(tree.steps)))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    columns: dict[float, list[float]] = {}
    for number, (x, y) in spots.items():
        assert 0 < x < width
        assert 0 < y < height
        columns.setdefault(x, []).append(y)
        assert x == spots[0][0] + COLUMN * len(tree.steps[number].place)
    for ys in columns.values():
        gaps = [b - a for a, b in zip(sorted(ys), sorted(ys)[1:], strict=False)]
        assert all(gap >= ROW - 0.2 for gap in gaps), "labels have room"
    edges = [e for e in drawn.iter(f"{SVG}path") if "edge" in e.attrib["class"]]
    assert len(edges) == len(tree.steps) - 1
    bold = [e for e in drawn.iter(f"{SVG}path") if "chosen" in e.attrib["class"]]
    assert len(bold) == len(tree.steps[tree.chosen or 0].place)


def test_colours_are_of_values() -> None:
    assert colour(None) == "#ffffff"
    assert (colour(0.0), colour(0.5), colour(1.0)) == ("#440154", "#21918c", "#fde725")
    lightness = [
        sum(w * int(colour(i / 20)[p : p + 2], 16) for w, p in ((0.3, 1), (0.59, 3), (0.11, 5)))
        for i in range(21)
    ]
    assert lightness == sorted(lightness), "brighter is better, without colours too"


HOSTILE = (
    "</script><img src=x onerror=alert(1)>\"'&<!--<script>alert(2)</script>"
    "]]>\u2028\u2029\x00\x1b[31m\ud800 {{7*7}} %s \\n \\N </svg></style>"
)


def hostile(prompt: str) -> Mapping[str, float]:
    return {f"{HOSTILE}\n\n{HOSTILE}\\boxed{{{HOSTILE}}}": 1.0}


class Seen(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.data.setdefault(self.tags[-1] if self.tags else "", []).append(data)


def hostile_trace() -> Trace:
    search = beam("process_reward", width=2, expand=2, step_tokens=400, max_tokens=900, depth=4)
    engine = climber(head=lambda text: (0.5,), script=hostile)
    made = runtime(engine, 64).solve(f"Which? {HOSTILE}", search | best(), seed=0)
    return asyncio.run(made).trace


def test_no_text_of_a_model_becomes_markup() -> None:
    trace = hostile_trace()
    page = trees_page(trace)
    seen = Seen(page)
    assert page.isascii()
    assert seen.tags.count("script") == 2
    assert "img" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [v for name, v in seen.attributes if name in ("src", "href") and v]
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    block = page.split('id="steps">', 1)[1].split("</script>", 1)[0]
    assert not set("<>&") & set(block)
    (nodes,) = json.loads(block)
    steps = tree_of_trace(trace).steps
    assert [node[1] for node in nodes] == [step.text for step in steps]
    assert any(HOSTILE in step.text for step in steps)


def tree_of_trace(trace: Trace) -> GrownTree:
    (tree,) = forest(trace)
    return tree


def test_the_pages_policy_names_its_own_script() -> None:
    """Another script, or a handler in an attribute, would not run."""
    page = trees_page(many().trace)
    policy = page.split('Security-Policy" content="', 1)[1].split('"', 1)[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_a_table_moves_no_cursor() -> None:
    shown = trace_table(hostile_trace())
    assert all(c.isprintable() or c == "\n" for c in shown)
    shown.encode()


def test_dot_is_quoted() -> None:
    shown = trees_dot(hostile_trace())
    inside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', shown)
    assert re.fullmatch(r'[\w\s=\[\],;{}>"-]*', inside), "all that a model said is in quotes"
    assert "\0" not in shown
    shown.encode()


@pytest.mark.parametrize("name", SEARCHES)
def test_dot_has_every_edge(name: str) -> None:
    trace = searched(SEARCHES[name], climber()).trace
    assert trees_dot(trace).count(" -> ") == len(tree_of_trace(trace).steps) - 1


def test_tables_and_data_tell_the_same() -> None:
    result = many()
    told, shown = trace_data(result.trace), trace_table(result.trace)
    json.dumps(told, allow_nan=False)
    search = told["searches"]["astar"]
    assert f"{search['kept']['tokens']:,} of {search['grown']['tokens']:,} tokens" in shown
    assert (told["answer"], told["status"]) == (result.answer, "complete")
    for end in search["ends"]:
        assert f"    {end} " in shown
    assert max(map(len, shown.splitlines())) <= 110


def test_a_run_without_a_search_is_told_but_not_drawn() -> None:
    trace = solved(sample(3) | judge("likelihood") | best(), ScriptedEngine()).trace
    assert trace_data(trace)["searches"] == {}
    assert "likelihood: 0 of 3 verdicts failed" in trace_table(trace)
    for draw in (trees_dot, trees_page):
        with pytest.raises(InputError, match="no search grew a tree"):
            draw(trace)


def changed(trace: Trace, kind: str, **fields: object) -> Trace:
    return Trace(events=tuple({**e, **fields} if e["event"] == kind else e for e in trace.events))


def test_traces_of_before_are_refused_in_words() -> None:
    trace = many().trace
    old = Trace(events=tuple(e for e in trace.events if e["event"] != "paths"))
    with pytest.raises(InputError, match="does not tell how the tree of 'astar' grew"):
        trace_table(old)


@pytest.mark.parametrize(
    "damaged",
    [
        changed(many().trace, "paths", places=[[9, 9, 9]]),
        changed(many().trace, "node", place=[3, 3]),
        changed(many().trace, "answer", chosen=["astar", 10_000]),
    ],
)
def test_damaged_traces_are_refused(damaged: Trace) -> None:
    with pytest.raises(InputError, match="damaged"):
        forest(damaged)


def test_a_trace_without_its_ends_is_refused() -> None:
    events: list[dict[str, Any]] = [{"event": "run"}, {"event": "result"}]
    with pytest.raises(InputError, match="its run event has no question"):
        trace_table(Trace(events=tuple(events)))


def test_a_budget_that_ends_at_once_leaves_a_tree_of_nothing() -> None:
    trace = searched(SEARCHES["astar"], climber(), budget=Budget(tokens=1)).trace
    told = trace_data(trace)["searches"]["astar"]
    assert told["grown"] == {"steps": 0, "tokens": 0}
    assert "0 steps, 0 tokens" in trace_table(trace)
    with pytest.raises(InputError, match="no search grew a tree"):
        trees_page(trace)


def test_pages_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    trace = many().trace
    trace.write(tmp_path / "trace")
    write_trees_page(read_trace(tmp_path / "trace"), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == trees_page(trace)
    with pytest.raises(InputError, match="its folder does not exist"):
        write_trees_page(trace, tmp_path / "no" / "page.html")
    with pytest.raises(InputError, match="is a folder"):
        write_trees_page(trace, tmp_path)
