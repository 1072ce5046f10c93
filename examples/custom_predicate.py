"""A constraint in Python: sums that are right, by a model that cannot add."""

from ponder import Predicate, constrained, open_engine, predicate, regex, solve, vote
from ponder.verifiers import Question

SUM = regex(r"[1-9][0-9] \+ [1-9][0-9] = [1-9][0-9]{1,2}")


def holds(text: str) -> bool:
    """Of a whole text, and of one that goes on behind its equals sign."""
    left, equals, right = text.partition(" = ")
    a, _, b = left.partition(" + ")
    return not equals or str(int(a) + int(b)).startswith(right)


def complete(text: str) -> bool:
    left, _, right = text.partition(" = ")
    a, _, b = left.partition(" + ")
    return int(a) + int(b) == int(right)


def main() -> None:
    result = solve(
        Question(text="Write a sum of two numbers, such as 12 + 34 = 46.", instruction=""),
        constrained(SUM, predicate("holds"), particles=6, max_tokens=16) | vote(),
        engine=open_engine("embedded"),
        potentials={"holds": Predicate(complete, prefix=holds)},
        seed=2,
    )
    print(result.answer)


if __name__ == "__main__":
    main()
