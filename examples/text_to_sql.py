"""Text to SQL: a grammar says what a query looks like, SQLite itself says whether it can be run."""

import re
import sqlite3

from ponder import Predicate, constrained, lark, open_engine, predicate, solve, vote
from ponder.verifiers import Question

TABLE = "CREATE TABLE singer (name TEXT, country TEXT, age INTEGER)"
NAMES = ("singer", "name", "country", "age")
QUERY = lark(r"""
start: "SELECT " ("COUNT(*)" | NAME (", " NAME)*) " FROM " NAME (" WHERE " test)? order? ";"
test: NAME " " ("=" | "<" | ">") " " (NUMBER | STRING)
order: " ORDER BY " NAME " DESC"? " LIMIT " NUMBER
NAME: /[a-z]{1,12}/
NUMBER: /[1-9][0-9]?/
STRING: /'[A-Z][a-z]{1,12}'/
""")


def names_exist(query: str) -> bool:
    """Whether each name so far, and the beginning of one at the end, is one of the table's."""
    bare = re.sub(r"'[^']*'?", "", query)
    words = re.finditer(r"[a-z]+", bare)
    return all(
        word[0] in NAMES if word.end() < len(bare) else any(n.startswith(word[0]) for n in NAMES)
        for word in words
    )


def runs(query: str) -> bool:
    """Whether SQLite can prepare it: columns are looked up, nothing is executed."""
    with sqlite3.connect(":memory:") as database:
        database.execute(TABLE)
        try:
            database.execute(f"EXPLAIN {query}")
        except sqlite3.Error:
            return False
    return True


def main() -> None:
    question = Question(
        text=f"{TABLE};\nHow many singers are older than 30?",
        instruction="Answer with one SQL query.",
    )
    result = solve(
        question,
        constrained(QUERY, predicate("sqlite"), particles=6, max_tokens=48) | vote(),
        engine=open_engine("embedded"),
        potentials={"sqlite": Predicate(runs, prefix=names_exist)},
        seed=1,
    )
    print(result.answer)
    for attempt in result.candidates:
        print(f"{attempt.candidate.weight:.2f}", attempt.candidate.text)


if __name__ == "__main__":
    main()
