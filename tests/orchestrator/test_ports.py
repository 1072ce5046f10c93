"""What fits what: every pair of parts, engines and what they lack, plans and pictures."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from ponder.orchestrator import (
    Budget,
    Cost,
    Expression,
    agreement,
    best,
    best_of,
    check,
    dot,
    graph,
    judge,
    mermaid,
    parallel,
    plan,
    plan_data,
    plan_table,
    sample,
    vote,
    when,
)
from ponder.orchestrator.naming import name_of, nodes
from ponder.runtime import CapabilityError, InputError, ScriptedEngine
from ponder.strategies import ask
from ponder.verifiers import Question

# Parts with what each takes and gives, written out by hand: Q(uestion), C(andidates), A(nswer).
PARTS: dict[str, tuple[Expression, str, str]] = {
    "sample": (sample(2), "Q", "C"),
    "judge": (judge("likelihood"), "C", "C"),
    "vote": (vote(), "C", "A"),
    "best": (best(), "C", "A"),
    "both": (parallel(sample(2), sample(3)), "Q", "C"),
    "mixed": (parallel(sample(2), judge("likelihood")), "C", "C"),
    "way": (when(agreement() < 0.5, then=best(), otherwise=sample(2) | vote()), "C", "A"),
}


@pytest.mark.parametrize("pair", list(itertools.product(PARTS, PARTS)), ids="-".join)
def test_every_pair_of_parts_is_judged_by_its_ports(pair: tuple[str, str]) -> None:
    (first, takes, between), (second, wanted, gives) = (PARTS[name] for name in pair)
    if takes == "Q" and between == wanted and gives == "A":
        check(first | second)
    else:
        with pytest.raises(InputError):
            check(first | second)


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (sample(2), r"`sample` gives candidates, .* append `\| vote\(\)`"),
        (vote(), r"the start of the strategy gives question, but `vote` takes candidates; put"),
        (sample() | sample() | vote(), r"`sample` \(node 'sample-2'\) takes question"),
        (sample() | vote() | best(), r"`vote` gives answer, but `best` takes candidates; an"),
        (sample() | parallel(sample(), sample()) | vote(), "`parallel` takes question"),
        (parallel(sample() | vote(), sample()) | vote(), "`vote` gives answer inside `parallel`"),
        (
            sample() | when(agreement() < 1, then=vote(), otherwise=judge("likelihood")),
            "gives answer one way and candidates the other",
        ),
        (when(agreement() < 1, then=vote(), otherwise=vote()), "start .*`when` takes candidates"),
        (sample(name="a") | vote(name="a"), "two nodes are named 'a'"),
    ],
)  # fmt: skip
def test_misfits_are_told_with_their_fix(strategy: Expression, told: str) -> None:
    with pytest.raises(InputError, match=told):
        check(strategy)


def test_names_are_stable_and_the_users_win() -> None:
    strategy = (
        parallel(sample(1), sample(2, name="sample-2"), sample(3) | judge("likelihood"))
        | when(agreement() < 0.5, then=sample(4) | vote(), otherwise=vote())
    )  # fmt: skip
    names = [name_of(node) for node in nodes(check(strategy))]
    assert names == [
        "parallel", "sample", "sample-2", "sample-3", "judge", "when", "sample-4", "vote", "vote-2",
    ]  # fmt: skip
    assert check(check(strategy)) == check(strategy)


def test_engines_must_have_what_is_needed() -> None:
    engine = ScriptedEngine()
    with pytest.raises(InputError, match=r"node 'sample': unknown engine role 'polcy'.*'policy'"):
        check(sample(engine="polcy") | vote(), {"policy": engine})
    mute = ScriptedEngine(name="mute")
    mute.capabilities = replace(mute.capabilities, logprobs=False, prompt_logprobs=False)
    with pytest.raises(CapabilityError, match=r"node 'judge' needs logprobs .*'mute' has none"):
        check(best_of(2), {"policy": mute})
    with pytest.raises(CapabilityError, match="prompt_logprobs"):
        check(best_of(2, judge="self_evaluation"), {"policy": mute})
    check(sample(2) | vote(), {"policy": mute})


def test_a_plan_adds_up_bounds_by_hand() -> None:
    question, engine = Question(text="1 and 2?"), ScriptedEngine()
    prompt = engine.count(ask(question))
    way = when(agreement() < 0.5, then=sample(8, max_tokens=50) | vote(), otherwise=vote())
    made = plan(sample(4, max_tokens=100) | way, engine, question=question)
    pages = {4: 5 * -(-(prompt + 100) // 16), 8: 9 * -(-(prompt + 50) // 16)}
    assert made.total == Cost(
        calls=12, tokens=2 * prompt + 400 + 400, branches=5 + 9, pages=pages[4] + pages[8]
    )
    assert [node.name for node in made.nodes] == ["sample", "when", "sample-2", "vote", "vote-2"]
    assert made.notes == ("`sample(8, max_tokens=50) | vote()` starts from the question again",)


def test_of_two_ways_the_dearer_counts() -> None:
    ways = when(agreement() < 0.5, then=sample(8) | vote(), otherwise=sample(3) | vote())
    both = plan(sample(1) | ways, ScriptedEngine()).total
    dearer = plan(parallel(sample(1), sample(8)) | vote(), ScriptedEngine()).total
    assert both == dearer


def test_plans_say_whether_the_budget_may_bind() -> None:
    engine, strategy = ScriptedEngine(), sample(4, max_tokens=100) | vote()
    most = plan(strategy, engine).total
    assert plan(strategy, engine, budget=Budget(tokens=most.tokens, calls=4)).may_bind == ()
    tight = plan(strategy, engine, budget=Budget(tokens=most.tokens - 1, calls=3))
    assert tight.may_bind == ("tokens", "calls")
    assert "may bind" in plan_table(tight)
    assert json.loads(json.dumps(plan_data(tight)))["total"]["calls"] == 4


def test_text_engines_hold_no_pages() -> None:
    remote = ScriptedEngine()
    remote.capabilities = replace(remote.capabilities, fork="text")
    total = plan(sample(4) | vote(), remote).total
    assert (total.branches, total.pages) == (0, 0)


def test_graphs_and_pictures_show_every_node_and_edge() -> None:
    strategy = parallel(sample(2), sample(3) | judge("likelihood")) | when(
        agreement() < 0.5, then=sample(4, stop='"') | vote(), otherwise=vote()
    )
    drawn = graph(strategy)
    edges = {(e.source, e.target, e.port.value, e.label) for e in drawn.edges}
    assert edges == {
        ("", "sample", "question", ""),
        ("", "sample-2", "question", ""),
        ("sample", "parallel", "candidates", ""),
        ("sample-2", "judge", "candidates", ""),
        ("judge", "parallel", "candidates", ""),
        ("parallel", "when", "candidates", ""),
        ("when", "sample-3", "question", "then"),
        ("sample-3", "vote", "candidates", ""),
        ("when", "vote-2", "candidates", "otherwise"),
        ("vote", "", "answer", ""),
        ("vote-2", "", "answer", ""),
    }
    assert mermaid(strategy).count("-->") == dot(strategy).count(" -> ") == len(edges)
    for node in drawn.nodes:
        assert node.name in mermaid(strategy)
        assert node.name in dot(strategy)
    assert '\\"' in dot(strategy)
    assert "#34;" in mermaid(strategy)
