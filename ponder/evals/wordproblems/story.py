"""A word problem while it is written: sentences on one side, the steps of its solution beside it.

The steps are evaluated as they are laid down, so the answer and the printed solution come from one
structure. Knows no family of problems.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ponder.evals.wordproblems.lexicon import Noun, count

Operator = Literal["+", "-", "*", "/", "percent", "quotient", "remainder"]
"""`/` must come out even; "percent" is right % of left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One calculation and what its value counts."""

    left: int
    operator: Operator
    right: int
    value: int
    counts: str

    def __str__(self) -> str:
        if self.operator == "percent":
            return f"{self.right}% of {self.left} = {self.value}: {self.counts}."
        if self.operator in ("quotient", "remainder"):
            whole, rest = divmod(self.left, self.right)
            return f"{self.left} / {self.right} = {whole} remainder {rest}: {self.counts}."
        return f"{self.left} {self.operator} {self.right} = {self.value}: {self.counts}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with the steps that answer it; the last step's value is the answer."""

    family: str
    text: str
    steps: tuple[Step, ...]

    @property
    def answer(self) -> int:
        return self.steps[-1].value

    @property
    def solution(self) -> str:
        return "\n".join([*map(str, self.steps), f"The answer is {self.answer}."])


@dataclass(slots=True, kw_only=True)
class Story:
    """Collects sentences and steps of one problem."""

    sentences: list[str] = field(default_factory=list[str])
    steps: list[Step] = field(default_factory=list[Step])

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence[:1].upper() + sentence[1:])

    def step(self, left: int, operator: Operator, right: int, noun: Noun, tail: str = "") -> int:
        """Lay down a step and give its value.

        Args:
            left: the first number.
            operator: what is done with the two.
            right: the second number.
            noun: what the value counts.
            tail: words after the noun.
        """
        value = evaluate(left, operator, right)
        counts = f"{count(value, noun)} {tail}".rstrip()
        self.steps.append(
            Step(left=left, operator=operator, right=right, value=value, counts=counts)
        )
        return value

    def finish(self, family: str, question: str) -> Problem:
        self.say(question)
        return Problem(family=family, text=" ".join(self.sentences), steps=tuple(self.steps))


def evaluate(left: int, operator: Operator, right: int) -> int:
    """The value of a step: a natural number of at least 1, or the family that asked is wrong."""
    exact = {
        "+": (left + right, True),
        "-": (left - right, True),
        "*": (left * right, True),
        "/": (left // right, left % right == 0),
        "percent": (left * right // 100, left * right % 100 == 0),
        "quotient": (left // right, True),
        "remainder": (left % right, True),
    }
    value, even = exact[operator]
    if not even or value < 1:
        raise ArithmeticError(f"{left} {operator} {right} is no natural number")
    return value
