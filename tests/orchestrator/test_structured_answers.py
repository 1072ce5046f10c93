"""Answers of a stated form: every reply is held to it, values vote, and engines that cannot are
refused before a token is spent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from guessing import runtime
from pydantic import BaseModel

from ponder.orchestrator import (
    PRESETS,
    Expression,
    Status,
    beam,
    best,
    kept_question,
    load_strategy,
    mcts,
    particle_filter,
    plan,
    recompute,
    sample,
    solve,
    vote,
)
from ponder.runtime import CapabilityError, InputError, ScriptedEngine
from ponder.strategies.prompting import ask
from ponder.verifiers import Question


class Move(BaseModel):
    to: Literal["left", "right"]
    steps: int
    note: str | None = None


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REPLIES = {
    '{"to": "left", "steps": 3}': 1.0,
    '{"to":"left","steps":3}': 1.0,
    '{"steps": 3, "to": "left"}': 9.0,
    '{"to": "right", "steps": 2}': 0.1,
    '{"to": "up", "steps": 2}': 30.0,
    "Left, three steps.": 40.0,
}
"""Of these, the form allows two ways of one answer, and another answer."""
STEPS: dict[str, Any] = {
    "step_stop": (),
    "step_tokens": 9,
    "max_tokens": 60,
    "depth": 8,
    "goal": ("}",),
}
SEARCHES: list[Expression] = [
    beam("process_reward", width=4, expand=2, **STEPS) | best(),
    beam("process_reward", width=4, expand=2, lookahead=1, **STEPS) | best(),
    mcts("process_reward", simulations=12, **STEPS) | best(),
    particle_filter("process_reward", particles=6, **STEPS) | vote(),
]


def script(_: str) -> Mapping[str, float]:
    return REPLIES


def engine() -> ScriptedEngine:
    return ScriptedEngine(script, heads={"score": lambda text: (0.9 if "left" in text else 0.4,)})


def test_values_vote_and_come_back_typed() -> None:
    result = solve(
        "Where?", sample(60, temperature=1.0) | vote(), engine=engine(), answer=Move, seed=2
    )
    assert result.answer == '{"steps":3,"to":"left"}'
    assert result.value == {"to": "left", "steps": 3}
    assert result.parsed(Move) == Move(to="left", steps=3)
    assert {a.answer for a in result.candidates} == {result.answer, '{"steps":2,"to":"right"}'}
    assert {a.candidate.text for a in result.candidates} <= set(list(REPLIES)[:4])
    assert recompute(result.trace.events) == result.numbers
    assert kept_question(result.trace).form == json.dumps(
        Move.model_json_schema() | {"additionalProperties": False}
    )


@pytest.mark.parametrize("strategy", SEARCHES, ids=repr)
def test_searches_are_held_to_it_from_where_the_reply_begins(strategy: Expression) -> None:
    result = solve("Where?", strategy, engine=engine(), answer=Move, seed=1)
    assert result.value == {"to": "left", "steps": 3}
    assert all(
        any(t.startswith(a.candidate.text) for t in list(REPLIES)[:4]) for a in result.candidates
    )


EXAMPLES = [
    *((preset.expression, name) for name, preset in PRESETS.items()),
    *(
        (load_strategy(str(path)), path.name)
        for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    ),
]


@pytest.mark.parametrize(("strategy", "name"), EXAMPLES, ids=[name for _, name in EXAMPLES])
def test_whatever_the_strategy(strategy: Expression, name: str) -> None:
    """Judges too are asked; here they are answered by chance, or not at all."""
    guessing = ScriptedEngine(lambda _: REPLIES | {"Yes": 20.0, "No": 20.0})
    result = solve("Where?", strategy, engine=guessing, answer=Move, seed=1)
    allowed = list(REPLIES)[:4]
    assert all(any(t.startswith(a.candidate.text) for t in allowed) for a in result.candidates)
    if name == "constrained.yaml":  # to a form of its own, which no value of this one has
        assert (result.status, result.answer) == (Status.UNSATISFIED, None)
    else:
        assert result.parsed(Move).to in ("left", "right")


def test_a_reply_that_was_cut_off_is_no_answer() -> None:
    result = solve("Where?", sample(3, max_tokens=9) | vote(), engine=engine(), answer=Move, seed=2)
    assert (result.answer, result.value, result.confidence) == (None, None, None)
    with pytest.raises(InputError, match="no answer to parse"):
        result.parsed(Move)


def test_an_answer_of_another_form_is_not_parsed() -> None:
    numbers = ScriptedEngine(lambda _: {'{"n": 4}': 1.0})
    result = solve("How many?", sample(1) | vote(), engine=numbers, answer=SCHEMA, seed=1)
    assert result.value == {"n": 4}
    with pytest.raises(InputError, match="is no Move"):
        result.parsed(Move)


def test_the_model_is_shown_the_form_and_asked_for_no_box() -> None:
    (turn,) = ask(Question(text="How many?", form=json.dumps(SCHEMA)))
    assert json.dumps(SCHEMA) in turn.content
    assert "boxed" not in turn.content
    (turn,) = ask(Question(text="How many?", form="{}", instruction="Count well."))
    assert turn.content.startswith("Count well.\n\nReply with one JSON value")


def test_engines_that_cannot_are_refused() -> None:
    question = Question(text="Where?", form=json.dumps(SCHEMA))
    for lacks, strategy in (
        ({"grammars": frozenset({"regex"})}, sample(2) | vote()),
        ({"grammar_start": False}, SEARCHES[0]),
    ):
        poor = engine()
        poor.capabilities = replace(poor.capabilities, **lacks)
        plan(strategy, poor)
        name = next(iter(lacks))
        with pytest.raises(CapabilityError, match=f"needs {name} of the policy engine"):
            plan(strategy, poor, question=question)
        with pytest.raises(CapabilityError, match=name):
            asyncio.run(runtime(poor).solve(question, strategy))
        assert poor.stats().opened == 0
    poor.capabilities = replace(poor.capabilities, grammar_start=False)
    plan(sample(2) | vote(), poor, question=question)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (int, "give a pydantic model class, or a JSON Schema"),
        ({"type": {1, 2}}, "JSON cannot write"),
        ({"not": {}}, "keywords that are not supported"),
    ],
)
def test_what_is_no_form(answer: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        solve("Where?", sample(1) | vote(), engine=engine(), answer=answer, seed=1)


def test_a_question_has_one_form() -> None:
    with pytest.raises(InputError, match="not both"):
        solve(Question(text="?", form="{}"), sample(1) | vote(), engine=engine(), answer=Move)
