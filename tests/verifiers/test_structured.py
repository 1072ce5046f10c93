"""Canonical JSON: equal texts for equal values, and nothing for what is no JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.verifiers import Question, SameJson, answer_of, canonical_json, group

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
)


def equal(one: Any, other: Any) -> bool:
    """As JSON Schema has it: numbers by value, and no number is a truth value."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@given(values.filter(lambda v: "Infinity" not in json.dumps(v)), values)
def test_equal_values_are_equal_texts(one: Any, other: Any) -> None:
    written, spaced = canonical_json(json.dumps(one)), canonical_json(json.dumps(one, indent=3))
    assert written is not None
    assert written == spaced == canonical_json(written)
    assert equal(json.loads(written), one)
    if "Infinity" not in json.dumps(other):
        assert (written == canonical_json(json.dumps(other))) == equal(one, other)


def test_numbers_and_keys() -> None:
    assert canonical_json('{"b": 1.0, "a": [1e2, -0.0]}') == '{"a":[100,0],"b":1}'
    assert canonical_json('{"a": 1, "a": 2}') == '{"a":2}'
    assert canonical_json("true") != canonical_json("1")
    assert canonical_json('"1"') != canonical_json("1")


@pytest.mark.parametrize(
    "text", ["", '{"a": ', "{'a': 1}", "NaN", "1e999", "well, 4", "[" * 100_000]
)
def test_what_is_no_json_is_no_answer(text: str) -> None:
    assert canonical_json(text) is None


def test_answers_are_read_by_the_question_and_grouped_by_value() -> None:
    free, formed = Question(text="?"), Question(text="?", form="{}")
    assert answer_of(free, "It is \\boxed{4}") == "4"
    assert answer_of(formed, "It is \\boxed{4}") is None
    texts = ['"Yes"', '"yes"', '{"a":1}', '{"a": 1.0}', "[1,2]", "[2,1]", None]
    answers = [text and answer_of(formed, text) for text in texts]
    assert asyncio.run(group(answers, SameJson())) == [0, 1, 2, 2, 3, 4, None]
