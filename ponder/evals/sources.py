"""Gathers the examples of a run: from a file, from the hub, or made by rule; then shuffles and cuts
them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path

from ponder.evals.hub import load_from_hub
from ponder.evals.rows import read_rows
from ponder.evals.tasks import Example, Task
from ponder.evals.wordproblems import problems
from ponder.runtime import BranchPath, InputError

EASIEST = 1


def load_examples(
    task: Task,
    *,
    data: Path | None = None,
    limit: int | None = None,
    seed: int,
    shuffle: bool = False,
    difficulty: int | None = None,
) -> list[Example]:
    """The examples of a run, in the order they are asked.

    Args:
        task: what to load.
        data: a JSONL file to read in place of the task's own source.
        limit: take the first so many, after shuffling; None is the task's own limit.
        seed: of the shuffle and of made problems.
        shuffle: in an order that depends on the seed alone.
        difficulty: of made problems, 1 to 6; 1 when None. Other tasks have none.

    Raises:
        InputError: an option does not fit, or the source cannot be read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit!r}; it must be at least 1, or left out")
    if difficulty is not None and (task.hub or data):
        raise InputError(f"difficulty {difficulty!r} is for wordproblems made by rule only")
    limit = task.limit if limit is None and data is None else limit
    if data is not None:
        examples = read_rows(data)
    elif task.hub is not None:
        examples = load_from_hub(task, task.hub)
    else:
        examples = make_examples(seed, EASIEST if difficulty is None else difficulty, limit or 1)
    if shuffle:
        path = BranchPath(seed, ("shuffle",))
        places = sorted(range(len(examples)), key=path.uniform)
        examples = [examples[i] for i in places]
    return examples[:limit]


def make_examples(seed: int, difficulty: int, n: int) -> list[Example]:
    """The first `n` word problems of a seed and difficulty."""
    return [
        Example(
            id=f"wordproblems-s{seed}-d{difficulty}-{index}",
            question=made.text,
            answer=str(made.answer),
            solution=made.solution,
            level=str(difficulty),
        )
        for index, made in islice(problems(seed, difficulty), n)
    ]


def fingerprint(examples: Sequence[Example]) -> str:
    """sha256 over ids, questions and answers in their order: equal for equal runs, wherever the
    examples came from.
    """
    digest = sha256()
    for e in examples:
        digest.update(json.dumps([e.id, e.question, e.answer]).encode() + b"\n")
    return digest.hexdigest()
