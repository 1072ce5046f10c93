"""What can be evaluated: each task is a declaration of where its examples come from and how it
asks.

Holds no data. The public sets stay where they are; their licences are noted, not granted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ponder.runtime import InputError, unknown
from ponder.verifiers import Shot

BOXED = "Think step by step, then give the final answer inside \\boxed{}."
SHORT = 'Solve the problem in short steps and end with "The answer is N."'
# Written here. Small models follow worked turns far better than a description of the form: with
# these the embedded model was right on 22 of 48 one-step samples, with BOXED on 11.
ARITHMETIC = (
    Shot(
        question="Tom has 3 apples and buys 4 more. How many apples does he have?",
        solution="3 + 4 = 7. The answer is 7.",
    ),
    Shot(
        question="A box holds 6 eggs. How many eggs are in 5 boxes?",
        solution="6 * 5 = 30. The answer is 30.",
    ),
    Shot(
        question="Ann had $20. She bought 2 books for $4 each. How many dollars are left?",
        solution="2 * 4 = 8. 20 - 8 = 12. The answer is 12.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question with its reference answer."""

    id: str
    """Unique within its set."""
    question: str
    answer: str
    solution: str | None = None
    level: str | None = None


def as_it_is(answer: str) -> str:
    return answer


def after_hashes(answer: str) -> str:
    """GSM8K's answer column is a worked solution that ends with `#### 18`."""
    _, mark, last = answer.rpartition("####")
    if not mark:
        raise InputError(f"no '####' before the final answer in {answer[-60:]!r}")
    return last.strip().replace(",", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Where a set lies on the Hugging Face hub, and which columns hold what."""

    dataset: str
    config: str | None = None
    split: str
    question: str
    answer: str
    read: Callable[[str], str] = as_it_is
    """From the answer column's text to the answer."""
    id: str | None = None
    """None: the row's number, behind the task's name."""
    solution: str | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark: its examples' source, and the instruction given with each question."""

    name: str
    summary: str
    hub: Hub | None
    """None: made by rule (`wordproblems`)."""
    instruction: str = BOXED
    shots: tuple[Shot, ...] = ()
    """Worked examples shown with each question."""
    licence: str
    limit: int | None = None
    """Examples taken when the user does not say; None is all."""


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="gsm8k",
            summary="grade-school word problems, 1,319 test questions",
            hub=Hub(
                dataset="openai/gsm8k",
                config="main",
                split="test",
                question="question",
                answer="answer",
                read=after_hashes,
                solution="answer",
            ),
            instruction=SHORT,
            shots=ARITHMETIC,
            licence="MIT",
        ),
        Task(
            name="math500",
            summary="500 competition problems of the MATH test set",
            hub=Hub(
                dataset="HuggingFaceH4/MATH-500",
                split="test",
                question="problem",
                answer="answer",
                id="unique_id",
                solution="solution",
                level="level",
            ),
            licence="MIT on the compilation; problem texts (c) AoPS",
        ),
        Task(
            name="aime24",
            summary="the 30 problems of AIME 2024 I and II",
            hub=Hub(
                dataset="HuggingFaceH4/aime_2024",
                split="train",
                question="problem",
                answer="answer",
                id="id",
                solution="solution",
            ),
            licence="problems (c) MAA; do not redistribute",
        ),
        Task(
            name="multiarith",
            summary="two-step arithmetic word problems, 180 test questions",
            hub=Hub(
                dataset="ChilleD/MultiArith",
                split="test",
                question="question",
                answer="final_ans",
            ),
            instruction=SHORT,
            shots=ARITHMETIC,
            licence="none stated; research use",
        ),
        Task(
            name="wordproblems",
            summary="word problems made by rule, endless; difficulty 1 to 6 is the number of steps",
            hub=None,
            instruction=SHORT,
            shots=ARITHMETIC,
            licence="Apache-2.0",
            limit=100,
        ),
    )
}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in TASKS:
        raise InputError(unknown("task", name, TASKS))
    return TASKS[name]
