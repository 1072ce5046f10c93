"""What can be evaluated: each task is a declaration of where its examples come from and how it
asks.

Holds no data. The public sets stay where they are; their licences are noted, not granted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ponder.runtime import InputError, unknown

BOXED = "Think step by step, then give the final answer inside \\boxed{}."
BOXED_NUMBER = "Think step by step, then give the final answer as one number inside \\boxed{}."


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
            instruction=BOXED_NUMBER,
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
            instruction=BOXED_NUMBER,
            licence="none stated; research use",
        ),
        Task(
            name="wordproblems",
            summary="word problems made by rule, endless; difficulty 1 to 6 is the number of steps",
            hub=None,
            instruction=BOXED_NUMBER,
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
