"""Minimum Bayes risk: the majority under equal answers, and words in common by their definition."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import InputError
from ponder.strategies import Answer, MinimumBayesRisk, Strategy, Vote
from ponder.strategies.overlap import longest_common, rouge_1, rouge_l, words
from ponder.verifiers import Candidate

Make = Callable[..., Any]  # fixtures that make a context or a candidate, by keyword

SAID = ("\\boxed{1/2}", "so \\boxed{0.5}", "\\boxed{3}", "I do not know")
some_words = st.lists(st.sampled_from("abcd"), max_size=9)


def answered(alone: Make, strategy: Strategy, candidates: Sequence[Candidate]) -> Answer:
    (answer,) = asyncio.run(alone().run(strategy, candidates))
    assert isinstance(answer, Answer)
    return answer


def test_with_equal_answers_it_is_the_majority(alone: Make, attempt: Make) -> None:
    """Every sequence of up to five: the same answer, confidence and candidate."""
    for size in range(6):
        for said in product(SAID, repeat=size):
            made = [attempt(i, text) for i, text in enumerate(said)]
            assert answered(alone, MinimumBayesRisk(), made) == answered(alone, Vote(), made)


@pytest.mark.parametrize("scores", [(0.5, 0.25, 0.75, 0.5), (0.0, 0.0, 0.0, 0.0), (1, 0, 0, 1)])
def test_weighed_by_a_judge_it_is_the_weighted_vote(
    alone: Make, attempt: Make, scores: tuple[float, ...]
) -> None:
    for said in product(SAID, repeat=4):
        pairs = enumerate(zip(said, scores, strict=True))
        made = [attempt(i, text, score=score) for i, (text, score) in pairs]
        found = answered(alone, MinimumBayesRisk(weights="judge"), made)
        voted = answered(alone, Vote(weights="judge"), made)
        assert (found.text is None) == (voted.text is None)
        if voted.confidence is None:
            assert found.confidence is None
        else:  # of groups with equal weight either may win
            assert found.confidence == pytest.approx(voted.confidence)


def test_equal_scores_weigh_as_none(alone: Make, attempt: Make) -> None:
    for said, utility in product(product(SAID, repeat=4), ["answer", "rougeL"]):
        made = [attempt(i, text, score=0.3) for i, text in enumerate(said)]
        weighed = answered(alone, MinimumBayesRisk(utility=utility, weights="judge"), made)
        plain = answered(alone, MinimumBayesRisk(utility=utility), made)
        assert (weighed.text, weighed.chosen) == (plain.text, plain.chosen)


def test_of_free_text_the_most_central_is_taken(alone: Make, attempt: Make) -> None:
    said = ["Paris is in France: 1", "the capital of France is Paris: 1", "Paris, France: 1", "7"]
    made = [attempt(i, text) for i, text in enumerate(said)]
    split = [words(text) for text in said]
    expected = [sum(rouge_l(a, b) for b in split) / 4 for a in split]
    ctx = alone()
    (answer,) = asyncio.run(ctx.run(MinimumBayesRisk(utility="rougeL"), made[::-1]))
    assert answer.confidence == pytest.approx(max(expected))
    assert answer.chosen == ("sample", expected.index(max(expected)))
    told = {e["index"]: e["utility"] for e in ctx.events[-1]["expected"]}
    assert [told[i] for i in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize("utility", ["answer", "rouge1", "rougeL"])
def test_one_none_and_nobody(alone: Make, attempt: Make, utility: str) -> None:
    strategy = MinimumBayesRisk(utility=utility)
    nothing = Answer(text=None, confidence=None, chosen=None)
    assert answered(alone, strategy, []) == nothing
    one = Answer(text="4", confidence=1.0, chosen=("sample", 0))
    assert answered(alone, strategy, [attempt(0, "\\boxed{4}")]) == one
    mute = [attempt(0, "hm", score=0.1), attempt(1, "hm", score=0.8), attempt(2, "...")]
    unanswered = Answer(text=None, confidence=None, chosen=("sample", 1))
    assert answered(alone, strategy, mute) == unanswered


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"utility": "bleu"}, "utility is 'bleu'; it must be one of answer, rouge1, rougeL"),
        ({"weights": "score"}, "weights is 'score'; it must be one of count, judge"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        MinimumBayesRisk(**settings)


def test_overlaps_have_the_known_values() -> None:
    """The example of ROUGE's paper, section 3.1."""
    said = words("Police killed the gunman.")
    assert rouge_l(said, words("police kill the gunman")) == 0.75
    assert rouge_l(said, words("the gunman kill police")) == 0.5
    assert rouge_1(said, words("the gunman kill police")) == 0.75
    assert rouge_l([], []) == rouge_1([], said) == 0.0


@given(some_words, some_words)
def test_the_longest_common_subsequence_is_the_textbooks(a: list[str], b: list[str]) -> None:
    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    assert longest_common(a, b) == longest(len(a), len(b))
    assert rouge_l(a, b) <= rouge_1(a, b) <= 1
    assert rouge_1(a, b) == rouge_1(b, a)
    assert rouge_1(a, a) == (1 if a else 0)
    assert (rouge_1(a, b) > 0) == bool(Counter(a) & Counter(b))
