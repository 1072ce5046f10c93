"""Reports: counted by hand, whatever the order; what is undefined is None and says why."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from scripted_solver import record

from ponder.evals import Record, Report, Vote, report
from ponder.runtime import Usage

RIGHT, WRONG, SILENT = (
    Vote(answer="2", group=0, correct=True),
    Vote(answer="3", group=1, correct=False),
    Vote(answer=None, group=None, correct=False),
)


def of(records: Sequence[Record], total: int | None = None) -> Report:
    return report(records, task="t", strategy="s", total=len(records) if total is None else total)


def four() -> list[Record]:
    usage = Usage(prompt=10, cached=6, decoded=5, scored=1)
    return [
        record("a", candidates=(RIGHT, RIGHT, WRONG, SILENT), usage=usage, finished=3.0),
        record(
            "b", candidates=(WRONG, WRONG, RIGHT, SILENT), correct=False, answer="3", usage=usage
        ),
        record(
            "c",
            candidates=(SILENT,) * 4,
            correct=False,
            answer=None,
            outcome="exhausted",
            usage=usage,
            session=1,
            finished=1.5,
        ),
        record(
            "d",
            candidates=(),
            correct=False,
            answer=None,
            outcome="failed",
            reason="too long",
            usage=Usage(),
            session=1,
            finished=0.5,
        ),
    ]


def test_counts() -> None:
    result = of(four())
    assert (result.n, result.correct, result.accuracy) == (4, 1, 0.25)
    assert (result.exhausted, result.failed, result.unanswered) == (1, 1, 1)
    assert (result.tokens, result.decoded, result.cached) == (48, 15, 18)
    assert result.seconds == 4.5
    assert result.tokens_mean == 12
    assert result.tokens_per_second == pytest.approx(48 / 4.5)
    assert result.interval is not None
    assert result.interval.low < 0.25 < result.interval.high


def test_curves_count_the_failed_as_wrong() -> None:
    result = of(four())
    assert {k: e.value for k, e in result.pass_at.items()} == pytest.approx(
        {1: (2 / 4 + 1 / 4) / 4, 2: (5 / 6 + 3 / 6) / 4, 4: 2 / 4}
    )
    # Of the six pairs of "a" only W- is lost, of those of "b" only R- is won.
    assert {k: e.value for k, e in result.maj_at.items()} == pytest.approx(
        {1: 3 / 16, 2: (5 / 6 + 1 / 6) / 4, 4: 1 / 4}
    )


def test_fewer_candidates_leave_a_curve_undefined() -> None:
    result = of([*four()[:2], record("e", candidates=(RIGHT,) * 2)])
    assert result.pass_at[2].value is not None
    assert result.pass_at[4].value is None
    assert result.maj_at[4].reason == "1 of 3 examples have fewer candidates"
    shown = result.as_dict()
    assert shown["undefined"] == [
        "pass@4: 1 of 3 examples have fewer candidates",
        "maj@4: 1 of 3 examples have fewer candidates",
    ]


def test_one_candidate_has_no_curve() -> None:
    result = of([record("a"), record("b")])
    assert (result.pass_at, result.maj_at) == ({}, {})


def test_the_order_of_records_does_not_matter() -> None:
    records = [record(f"r{i}", session=i % 3, finished=0.1 * i) for i in range(30)] + four()
    assert of(records) == of(records[::-1])


def test_nothing_recorded() -> None:
    result = of([], total=5)
    assert (result.n, result.status) == (0, "interrupted")
    assert (result.accuracy, result.interval) == (None, None)
    assert (result.tokens_mean, result.tokens_per_second) == (None, None)
    json.dumps(result.as_dict(), allow_nan=False)


def test_json() -> None:
    shown = json.loads(json.dumps(of(four()).as_dict(), allow_nan=False))
    assert {
        "task",
        "strategy",
        "n",
        "correct",
        "accuracy",
        "interval",
        "tokens",
        "seconds",
        "status",
    } <= set(shown)
    assert list(shown["pass_at"]) == ["1", "2", "4"]
    assert len(shown["interval"]) == 2
