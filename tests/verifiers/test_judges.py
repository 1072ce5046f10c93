"""Judges in words: exact scores of a known opinion, replies that cannot be read, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opinions import PATH, QUESTION, always, attempts, judged, shown, wise

from ponder.runtime import Message
from ponder.verifiers import VERIFIERS, Question, verifier_kind
from ponder.verifiers.asking import REPLY
from ponder.verifiers.listwise import MOST
from ponder.verifiers.pairing import MOST_ALL, most_pairs, paired, rounds
from ponder.verifiers.wording import (
    LONGEST,
    MOST_LABEL,
    MOST_WORDS,
    about,
    read_better,
    read_grade,
    read_ranking,
    read_rating,
    read_verdict,
)

WORDY = ["judge_pointwise", "judge_rationales", "judge_pairwise", "judge_listwise"]


def test_a_grade_is_the_score() -> None:
    verdicts, engine = judged("judge_pointwise", attempts(7, 0, 10))
    assert [v.score for v in verdicts] == [0.7, 0.0, 1.0]
    assert verdicts[0].reason == "read 1 of 1 replies, 0 drawn again"
    assert engine.stats().decoded == sum(v.usage.decoded for v in verdicts)


def test_the_share_of_rationales_that_approve_is_the_score() -> None:
    verdicts, _ = judged("judge_rationales", attempts(10, 0, *range(3, 8)))
    assert [v.score for v in verdicts[:2]] == [1.0, 0.0]
    assert all(v.score is not None and v.score * 4 in range(5) for v in verdicts)
    assert len({v.score for v in verdicts}) > 2


@pytest.mark.parametrize("kind", ["judge_pairwise", "judge_listwise"])
@pytest.mark.parametrize("answers", [(3, 1, 2), (5, 4, 3, 2, 1, 0), (2, 9)])
def test_a_known_order_comes_out(kind: str, answers: tuple[int, ...]) -> None:
    """The share of wins and the place in the ranking are the same, where all pairs are compared."""
    verdicts, _ = judged(kind, attempts(*answers))
    lower = [sum(other < answer for other in answers) for answer in answers]
    assert [v.score for v in verdicts] == [n / (len(answers) - 1) for n in lower]


@pytest.mark.parametrize("n", [7, 12, 20])
def test_swiss_rounds_find_the_best_and_the_worst(n: int) -> None:
    answers = sorted(range(n), key=lambda i: PATH.child("shuffle").uniform(i))
    verdicts, engine = judged("judge_pairwise", attempts(*answers))
    scores = {a: v.score for a, v in zip(answers, verdicts, strict=True)}
    assert max(scores, key=lambda a: scores[a] or 0) == n - 1
    assert scores[n - 1] == 1.0
    assert (scores[0] or 0.0) < 0.3
    assert engine.stats().steps > 0


def test_a_judge_that_prefers_a_place_says_nothing() -> None:
    verdicts, _ = judged("judge_pairwise", attempts(1, 2, 3), always("Better: 1"))
    assert [v.score for v in verdicts] == [0.5] * 3
    assert verdicts[0].reason == "1 of 2 comparisons won"


def test_the_order_shown_is_drawn_and_hides_who_made_what() -> None:
    prompts: list[str] = []

    def listening(prompt: str) -> Mapping[str, float]:
        if "Rank all" in prompt and prompt not in prompts:
            prompts.append(prompt)
        return wise(prompt)

    judged("judge_listwise", attempts(*range(1, 9)), listening)
    (prompt,) = prompts
    assert sorted(shown(prompt)) == list(range(1, 9))
    assert shown(prompt) != list(range(1, 9))
    assert "sample" not in prompt
    again: list[str] = []
    judged("judge_listwise", attempts(*range(1, 9)), lambda p: again.append(p) or wise(p))  # type: ignore[func-returns-value]
    assert again[0] == prompt


@pytest.mark.parametrize("kind", WORDY)
def test_what_cannot_be_read_is_a_failure_after_a_second_draw(kind: str) -> None:
    verdicts, engine = judged(kind, attempts(1, 2, 3), always("I would rather not say."))
    assert all(v.score is None and "in two replies" in (v.failure or "") for v in verdicts)
    assert all("rather not say." in (v.failure or "") for v in verdicts)
    draws = engine.stats().decoded / (len("I would rather not say.") + 1)
    assert draws == verifier_kind(kind).calls(3)


def test_a_second_draw_may_be_read_and_is_said() -> None:
    """The first draw is greedy, so it takes the likelier reply; the second is free."""

    def moody(prompt: str) -> Mapping[str, float]:
        return {"Hm.": 0.5 + 1e-9, "Score: 4": 0.5 - 1e-9}

    verdicts, _ = judged("judge_pointwise", attempts(*range(20)), moody)
    read = [v for v in verdicts if v.score is not None]
    assert 0 < len(read) < 20
    assert {v.score for v in read} == {0.4}
    assert {v.reason for v in read} == {"read 1 of 1 replies, 1 drawn again"}


def test_rationales_that_cannot_be_read_leave_the_denominator() -> None:
    def vague(prompt: str) -> Mapping[str, float]:
        return {"Verdict: Yes": 0.4, "Hm.": 0.6}

    verdicts, _ = judged("judge_rationales", attempts(*range(30)), vague)
    read = [v.reason.split()[1] for v in verdicts if v.score is not None]
    assert {"1", "2", "3"} <= set(read)
    assert {v.score for v in verdicts if v.score is not None} == {1.0}


def test_a_pair_of_which_one_order_fails_does_not_count() -> None:
    def half(prompt: str) -> Mapping[str, float]:
        return wise(prompt) if shown(prompt)[0] > shown(prompt)[1] else {"Hm.": 1.0}

    verdicts, _ = judged("judge_pairwise", attempts(1, 2, 3), half)
    assert all(v.score is None and "two replies" in (v.failure or "") for v in verdicts)


@pytest.mark.parametrize("kind", ["judge_pairwise", "judge_listwise"])
def test_one_alone_is_the_best_and_costs_nothing(kind: str) -> None:
    (verdict,), engine = judged(kind, attempts(3))
    assert (verdict.score, engine.stats().prefilled) == (1.0, 0)
    assert verifier_kind(kind).calls(1) == 0


def test_too_many_for_one_ranking_are_told_so() -> None:
    verdicts, engine = judged("judge_listwise", attempts(*range(MOST + 1)))
    assert all("at most 20" in (v.failure or "") for v in verdicts)
    assert engine.stats().prefilled == 0


@pytest.mark.parametrize("kind", WORDY)
def test_nobody_is_judged_for_nothing(kind: str) -> None:
    assert judged(kind, [])[0] == []


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("Score: 7", 0.7),
        ("I think so.\n**Score: 7.5/10**\n", 0.75),
        ("score : 10.", 1.0),
        ("Score: 0", 0.0),
        ("Score: 3\nLater: Score: 3\nScore: 3", 0.3),
        ("Score: 3\nScore: 4", None),
        ("Score: 11", None),
        ("Score: -3", None),
        ("Score: N", None),
        ("My score: 7", None),
        ("7", None),
        ("Score: nan", None),
        ("", None),
    ],
)
def test_grades_have_one_form(reply: str, grade: float | None) -> None:
    assert read_grade(reply) == grade


@pytest.mark.parametrize(
    ("reply", "ranking"),
    [
        ("2 > 1 > 3", [1, 0, 2]),
        ("[2] > [3] > [1]\nSince ...", [1, 2, 0]),
        ("\n 3>2>1.", [2, 1, 0]),
        ("2 > 1", None),
        ("2 > 2 > 3", None),
        ("2 > 1 > 4", None),
        ("2 > 1 > 3 > 3", None),
        ("The order is 2 > 1 > 3", None),
        ("", None),
    ],
)
def test_rankings_name_each_once(reply: str, ranking: list[int] | None) -> None:
    assert read_ranking(reply, 3) == ranking


def test_short_forms() -> None:
    assert [read_verdict(r) for r in ("Verdict: yes", "Verdict: No.", "Yes", "Verdict: maybe")] == [
        True,
        False,
        None,
        None,
    ]
    both = "Verdict: Yes\nVerdict: No"
    assert read_verdict(both) is None
    assert [read_better(r) for r in ("Better: 1", "**Better: 2**", "Better: 3", "1")] == [
        0,
        1,
        None,
        None,
    ]
    assert [read_rating(r) for r in (" 7", "7/10\nso", "10.", "11", "seven", "")] == [
        0.7,
        0.7,
        1.0,
        None,
        None,
        None,
    ]


@given(st.integers(2, 40), st.data())
def test_no_pair_meets_twice_and_nobody_plays_twice_a_round(n: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(n)))
    points, met = [0.0] * n, set[tuple[int, int]]()
    total = 0
    for _ in range(rounds(n)):
        pairs = paired(order, points, met)
        assert not met & set(pairs)
        assert all(a < b for a, b in pairs)
        if n > MOST_ALL:
            playing = [i for pair in pairs for i in pair]
            assert len(playing) == len(set(playing))
        met |= set(pairs)
        total += len(pairs)
        for a, b in pairs:
            points[max(a, b)] += 1
    assert total <= most_pairs(n)
    if n <= MOST_ALL:
        assert total == math.comb(n, 2)
    assert {i for pair in met for i in pair} == set(range(n))


def test_more_candidates_never_cost_less() -> None:
    """Duplicates fall out, and the plan counts with none."""
    for kind in VERIFIERS.values():
        calls = [kind.calls(n) for n in range(60)]
        tokens = [kind.tokens(100, 50, n) for n in range(60)]
        assert (calls, tokens) == (sorted(calls), sorted(tokens))


def test_long_candidates_lose_their_middle_and_conversations_are_shown() -> None:
    text = "begin " + "x" * 50_000 + " end"
    before = Message(role="user", content="Hello")
    question = Question(text="Why?", history=(before,))
    first, turn = about(question, [text], "Say.")
    assert first is before
    assert len(turn.content) < LONGEST + 200
    assert "begin" in turn.content
    assert " end" in turn.content
    assert "left out" in turn.content


@pytest.mark.parametrize("kind", WORDY)
def test_prompts_are_within_what_is_planned(kind: str) -> None:
    """In characters, which a script's tokens are; the plan counts a prompt once a reply."""
    _, engine = judged(kind, attempts(1, 2, 3, 4), always("x" * 2 * REPLY))
    used = engine.stats()
    most = verifier_kind(kind).tokens(len(QUESTION.text), 16, 4)
    assert used.prefilled + used.decoded <= most
    assert used.prefilled < MOST_WORDS * verifier_kind(kind).calls(4)
    assert len(about(QUESTION, ["", ""], "")[0].content) < 2 * MOST_LABEL
