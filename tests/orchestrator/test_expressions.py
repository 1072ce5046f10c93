"""Expressions are values: laws of `|`, and two notations that lose nothing."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ponder.orchestrator as face
from ponder.orchestrator import (
    Condition,
    Expression,
    Parallel,
    Pipe,
    Step,
    When,
    agreement,
    best,
    best_of,
    best_score,
    from_yaml,
    json_schema,
    judge,
    load_strategy,
    operations,
    parallel,
    sample,
    to_yaml,
    vote,
    when,
)
from ponder.orchestrator.presets import PRESETS
from ponder.runtime import InputError
from ponder.strategies import Best, Judge, Sample, Vote

names = st.none() | st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
samples = st.builds(
    Sample,
    n=st.integers(1, 99),
    temperature=st.floats(0, 1e6),
    top_p=st.floats(0, 1, exclude_min=True),
    top_k=st.none() | st.integers(1, 99),
    min_p=st.floats(0, 1, exclude_max=True),
    max_tokens=st.integers(1, 10**6),
    stop=st.lists(text, max_size=3).map(tuple),
    engine=text,
)
judges = st.builds(
    Judge,
    verifier=st.sampled_from(["likelihood", "self_evaluation"]),
    keep=st.none() | st.integers(1, 9),
)
votes = st.builds(Vote, weights=st.sampled_from(["count", "judge"]))
methods = st.one_of(samples, judges, votes, st.just(Best()))
steps = st.builds(Step, strategy=methods, name=names)
conditions = st.builds(
    Condition,
    metric=st.sampled_from(["agreement", "best_score"]),
    op=st.sampled_from(["<", "<=", ">", ">="]),
    threshold=st.floats(0, 1),
)


def joined(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Pipe, parts=st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Parallel, parts=several, name=names),
        st.builds(When, condition=conditions, then=inner, otherwise=inner, name=names),
    )


expressions: st.SearchStrategy[Expression] = st.recursive(steps, joined, max_leaves=6)


@settings(deadline=None)
@given(expressions, expressions, expressions)
def test_piping_is_associative_and_flat(a: Expression, b: Expression, c: Expression) -> None:
    whole = (a | b) | c
    assert whole == a | (b | c)
    assert not any(isinstance(part, Pipe) for part in whole.parts)


@settings(deadline=None)
@given(expressions)
def test_repr_makes_it_again(expression: Expression) -> None:
    assert (
        eval(repr(expression), {name: getattr(face, name) for name in face.__all__}) == expression
    )


@settings(deadline=None)
@given(expressions)
def test_yaml_loses_nothing(expression: Expression) -> None:
    assert from_yaml(to_yaml(expression)) == expression


def test_an_expression_reads_as_it_was_written() -> None:
    strategy = sample(16, temperature=0.5) | judge("likelihood", keep=4) | vote()
    assert repr(strategy) == "sample(16, temperature=0.5) | judge('likelihood', keep=4) | vote()"
    branched = when(agreement() < 0.6, then=best(), otherwise=vote("judge", name="end"))
    assert repr(branched) == (
        "when(agreement() < 0.6, then=best(), otherwise=vote(weights='judge', name='end'))"
    )
    assert best_of(3, judge="self_evaluation") == sample(3) | judge("self_evaluation") | best()


def test_yaml_as_a_person_writes_it() -> None:
    written = """
    pipe:
      - sample: {n: 16, temperature: 0.8}
      - judge: {verifier: likelihood, keep: 8}
      - when: {condition: agreement() < 0.6, then: {best: {}}, otherwise: {vote: {}}}
    """
    expected = (
        sample(16)
        | judge("likelihood", keep=8)
        | when(agreement() < 0.6, then=best(), otherwise=vote())
    )
    assert from_yaml(written) == expected
    assert from_yaml("best_of: {n: 16}") == best_of(16)
    assert from_yaml("sample:") == sample()
    assert from_yaml("parallel: [sample: {stop: [a, b]}]") == parallel(sample(stop=("a", "b")))


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("pipe: [sample: {n: 2}, jugde: {verifier: likelihood}]", r"pipe\[1\]: .*'judge'"),
        (
            "pipe: [sample: {n: 2}, judge: {verifier: liklihood}]",
            r"pipe\[1\].judge: .*'likelihood'",
        ),
        ("pipe: [sample: {m: 2}]", r"pipe\[0\].sample: unknown key 'm'"),
        ("sample: {n: 0}", "sample: n is 0"),
        ("sample: {n: 1.5}", "sample.n is 1.5; .*integer"),
        ("sample: {n: '3'}", "sample.n is '3'; .*integer"),
        ("sample: {n: yes}", "sample.n is True; .*integer"),
        ("sample: {temperature: -1}", "sample: temperature is -1"),
        ("sample: {temperature: .nan}", "temperature"),
        ("sample: {stop: 2020-01-01}", "sample.stop is"),
        ("sample: {name: 3}", "sample.name is 3"),
        ("sample: {name: a b}", "sample: name is 'a b'"),
        ("sample: [1]", r"sample is \[1\]; it must be settings"),
        ("judge: {}", "judge lacks 'verifier'"),
        ("vote: {weights: judges}", "vote: weights is 'judges'"),
        ("best_of: {n: 0}", "best_of: n is 0"),
        ("best_of: {k: 1}", "best_of: unknown key 'k'"),
        ("pipe: []", r"pipe is \[\]"),
        ("pipe: {sample: {}}", "pipe is .*; it must be a list"),
        ("parallel: {parts: [sample: {}], width: 3}", "parallel: unknown key 'width'"),
        ("when: {condition: agreement < 2, then: {vote: }, otherwise: {vote: }}", "threshold is 2"),
        ("when: {condition: agrement < 1, then: {vote: }, otherwise: {vote: }}", "'agreement'"),
        ("when: {condition: agreement, then: {vote: }, otherwise: {vote: }}", "cannot be read"),
        ("when: {condition: 3, then: {vote: }, otherwise: {vote: }}", "when.condition is 3"),
        ("when: {condition: agreement < 0.5, then: {vote: }}", "when lacks 'otherwise'"),
        ("{sample: {}, vote: {}}", "must be one operation"),
        ("3", "must be one operation"),
        ("[sample]", "must be one operation"),
        ("", "empty"),
        ("# nothing", "empty"),
        ("sample: {n: 1, n: 2}", "'n' is there twice"),
        ("a: &a [1]\nb: *a", "anchors"),
        ("sample: !!python/object:os.system {}", "tag"),
        ("sample: {n: 1", "not YAML"),
        ("sample: {n: 1}\n---\nvote: {}", "not YAML"),
        ("\x00\x01", "not YAML"),
        ("[" * 100 + "]" * 100, "nested deeper"),
        ("? {a: 1}\n: 2", "a key must be a word"),
    ],
)
def test_bad_yaml_is_refused_with_its_place(written: str, wrong: str) -> None:
    with pytest.raises(InputError, match=f"(?s){wrong}"):
        from_yaml(written)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_junk_is_refused_and_never_worse(tmp_path_factory: Any, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "strategy.yaml"
    path.write_bytes(junk)
    with pytest.raises(InputError):
        load_strategy(str(path))


def test_strategies_load_by_name_or_path(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(sample(4) | vote()))
    assert load_strategy(str(path)) == sample(4) | vote()
    for name, preset in PRESETS.items():
        assert load_strategy(name) == preset.expression
    with pytest.raises(InputError, match="did you mean 'self_consistency'"):
        load_strategy("self_consistancy")
    with pytest.raises(InputError, match="cannot be read"):
        load_strategy(str(tmp_path / "absent.yaml"))
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="over 1000000 bytes"):
        load_strategy(str(path))


@pytest.mark.parametrize(
    "use",
    [
        lambda: bool(agreement() < 0.5),
        lambda: 0.2 < agreement() < 0.5,
        lambda: agreement() < 0.5 and best_score() > 0.1,
        lambda: agreement() < 1.5,
        lambda: agreement() < math.nan,
        lambda: parallel(),
        lambda: sample(name=""),
        lambda: sample(name="1st"),
        lambda: sample() | vote,  # type: ignore[operator]  # that is the point
        lambda: when(0.5, then=vote(), otherwise=vote()),  # type: ignore[arg-type]  # likewise
    ],
)
def test_misuse_is_refused(use: Any) -> None:
    with pytest.raises(InputError):
        use()


@pytest.mark.parametrize(
    ("function", "method"), [(sample, Sample), (judge, Judge), (vote, Vote), (best, Best)]
)
def test_functions_and_methods_have_the_same_settings(function: Any, method: Any) -> None:
    told = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    told.pop("name")
    kept = {p.name: p.default for p in inspect.signature(method).parameters.values()}
    assert told == kept
    (described,) = [o for o in operations() if o.name == function.__name__]
    assert [p.name for p in described.parameters] == [f.name for f in fields(method)]
    assert described.description.endswith(".")


def test_the_schema_knows_every_operation_and_setting() -> None:
    properties = json_schema()["$defs"]["strategy"]["properties"]
    assert {o.name for o in operations()} | {"pipe", "best_of"} == set(properties)
    for operation in operations():
        if operation.name != "parallel":
            wanted = {p.name for p in operation.parameters} | {"name"}
            assert set(properties[operation.name]["properties"]) == wanted
