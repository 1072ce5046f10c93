"""Every made problem reads well, asks for a natural number, and its solution computes."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from ponder.evals import load_examples, make_examples
from ponder.evals.tasks import find_task
from ponder.evals.wordproblems import FAMILIES, Problem, problem, problems
from ponder.runtime import InputError

COUNT = 2_000
PLAIN = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+): (\d+) [a-z].*\.")
SHARE = re.compile(r"(\d+)% of (\d+) = (\d+): (\d+) [a-z].*\.")
REST = re.compile(r"(\d+) / (\d+) = (\d+) remainder (\d+): (\d+) [a-z].*\.")
RIGHT = {
    "+": lambda a, b, c: a + b == c,
    "-": lambda a, b, c: a - b == c,
    "*": lambda a, b, c: a * b == c,
    "/": lambda a, b, c: b * c == a,
}


def holds(line: str) -> int:
    """Checks one line of a solution by its text alone; gives the number it arrives at."""
    if match := PLAIN.fullmatch(line):
        a, b, c, counted = int(match[1]), int(match[3]), int(match[4]), int(match[5])
        assert RIGHT[match[2]](a, b, c), line
        assert counted == c, line
        return c
    if match := SHARE.fullmatch(line):
        percent, whole, part, counted = map(int, match.groups())
        assert percent * whole == 100 * part, line
        assert counted == part, line
        return part
    match = REST.fullmatch(line)
    assert match, line
    whole, size, full, rest, counted = map(int, match.groups())
    assert full * size + rest == whole, line
    assert rest < size, line
    assert counted in (full, rest), line
    return counted


@pytest.fixture(scope="module", params=range(1, 7))
def made(request: pytest.FixtureRequest) -> tuple[int, list[Problem]]:
    return request.param, [p for _, p in islice(problems(7, request.param), COUNT)]


def test_solutions_compute(made: tuple[int, list[Problem]]) -> None:
    difficulty, found = made
    for one in found:
        *lines, last = one.solution.split("\n")
        assert len(lines) == difficulty
        values = [holds(line) for line in lines]
        assert last == f"The answer is {values[-1]}."
        assert one.answer == values[-1] >= 1


def test_text_is_clean(made: tuple[int, list[Problem]]) -> None:
    for one in made[1]:
        for text in (one.text, one.solution):
            assert not re.search(r"  |[{}]|\n\n| [.,?]|\.\.", text), text
            assert not re.search(r"(?<![\d$])1 (more |fewer )?[a-z]+s\b(?<!ss)", text), text
            assert not re.search(r"\b0 ", text), text
        assert one.text.endswith("?"), one.text
        for sentence in re.split(r"(?<=[.?]) ", one.text):
            assert sentence[0].isupper(), one.text


def test_numbers_of_the_question_are_those_of_the_steps(made: tuple[int, list[Problem]]) -> None:
    """A step uses only what the question says, earlier values, and constants of measures."""
    known = {2, 7, 12, 20, 50, 60, 100}
    for one in made[1]:
        said = {int(n) for n in re.findall(r"\d+", one.text)} | known
        words = {"twice": 2, "half": 2, "third": 3, "quarter": 4, "fifth": 5}
        said |= {n for word, n in words.items() if word in one.text.lower()}
        for step in one.steps:
            assert {step.left, step.right} <= said, (one.text, step)
            said.add(step.value)


def test_all_families_appear_and_texts_differ(made: tuple[int, list[Problem]]) -> None:
    assert {p.family for p in made[1]} == set(FAMILIES)
    assert len({p.text for p in made[1]}) == COUNT


def test_a_problem_is_a_function_of_its_place() -> None:
    stream = list(islice(problems(3, 2), 50))
    for index, one in reversed(stream):
        assert problem(3, 2, index) == one
    other_seed, other_difficulty = problem(4, 2, 0), problem(3, 3, 0)
    assert len({stream[0][1].text, other_seed.text, other_difficulty.text}) == 3


def test_a_longer_run_starts_with_the_shorter_one() -> None:
    assert make_examples(1, 4, 40)[:15] == make_examples(1, 4, 15)


def test_the_easiest_are_plain() -> None:
    for one in (problem(0, 1, i) for i in range(300)):
        assert len(one.steps) == 1
        assert len(one.text.split()) <= 40


def test_difficulty_is_an_option() -> None:
    task = find_task("wordproblems")
    hard = load_examples(task, limit=5, seed=2, difficulty=6)
    assert [e.level for e in hard] == ["6"] * 5
    assert [e.level for e in load_examples(task, limit=2, seed=2)] == ["1", "1"]
    assert len(load_examples(task, seed=2)) == task.limit
    for bad in (0, 7):
        with pytest.raises(InputError, match=f"difficulty is {bad}; it must be 1 to 6"):
            load_examples(task, limit=5, seed=2, difficulty=bad)
