"""JSONL files: what is read, and what is refused with its line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ponder.evals import TASKS, find_task, fingerprint, load_examples, read_rows
from ponder.evals.rows import LONGEST_LINE
from ponder.runtime import InputError

SHARED = Path(os.environ.get("PONDER_DATA", Path(__file__).parents[2] / "../shared/data"))
GOOD = b'{"id": "a", "question": "1 + 1?", "answer": "2"}'
ROWS = {
    "aime24": 30,
    "amc23": 40,
    "arc1_evaluation_text": 419,
    "arc1_training_text": 416,
    "game24": 1362,
    "gsm8k_test": 1319,
    "gsm8k_train": 7473,
    "math500": 500,
    "math_train": 7498,
    "mawps_addsub": 395,
    "mawps_multiarith": 600,
    "mawps_singleeq": 508,
    "mawps_singleop": 562,
}
ROWS |= {
    f"rg_{name}": 200
    for name in (
        "arc_1d",
        "basic_arithmetic",
        "chain_sum",
        "countdown",
        "gsm_symbolic",
        "leg_counting",
        "number_sequence",
        "simple_equations",
    )
}


def shared(name: str) -> Path:
    path = SHARED / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    return path


def written(path: Path, *lines: bytes) -> Path:
    file = path / "rows.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_the_shared_sets_load_whole(name: str, rows: int) -> None:
    examples = read_rows(shared(name))
    assert len({e.id for e in examples}) == rows


def test_gsm8k_reads_the_same_from_the_solutions_last_line() -> None:
    hub = TASKS["gsm8k"].hub
    assert hub
    for line in shared("gsm8k_test").read_bytes().split(b"\n")[:-1]:
        row = json.loads(line)
        assert hub.read(f"{row['solution']}\n#### {row['answer']}") == row["answer"]
    assert hub.read("... costs $1,234\n#### 1,234") == "1234"
    with pytest.raises(InputError, match="no '####' before"):
        hub.read("18")


BAD = {
    "binary": (b"\x00\x01\x02\xff", "no UTF-8: byte 0xff at 3"),
    "nul": (b"\x00\x00", "no JSON"),
    "latin": (b'{"id": "caf\xe9"}', "no UTF-8: byte 0xe9 at 11"),
    "no json": (b"{id: 3}", "no JSON"),
    "cut short": (GOOD[:20], "no JSON"),
    "two objects": (GOOD + GOOD, "no JSON"),
    "list": (b'["id", "question"]', "not an object"),
    "number": (b"3", "not an object"),
    "null": (b"null", "not an object"),
    "blank": (b"  ", "blank"),
    "deep": (b"[" * 100_000, "cannot be parsed"),
    "long number": (b'{"id": ' + b"9" * 10_000 + b"}", "cannot be parsed"),
    "no id": (b'{"question": "q", "answer": "a"}', "there is no 'id'"),
    "no question": (b'{"id": "b", "answer": "a"}', "there is no 'question'"),
    "no answer": (b'{"id": "b", "question": "q"}', "there is no 'answer'"),
    "null answer": (b'{"id": "b", "question": "q", "answer": null}', "'answer' is None"),
    "number answer": (b'{"id": "b", "question": "q", "answer": 2}', "'answer' is 2, not a string"),
    "empty id": (b'{"id": "", "question": "q", "answer": "a"}', "'id' is empty: ''"),
    "empty question": (b'{"id": "b", "question": " \\n", "answer": "a"}', "'question' is empty"),
    "empty answer": (b'{"id": "b", "question": "q", "answer": ""}', "'answer' is empty"),
    "list solution": (
        b'{"id": "b", "question": "q", "answer": "a", "solution": []}',
        "'solution' is \\[\\]",
    ),
    "surrogate": (
        b'{"id": "b", "question": "q \\ud800", "answer": "a"}',
        "'question' holds half a surrogate pair at character 2",
    ),
    "taken id": (GOOD, "the id 'a' is taken by line 1"),
    "second mark": (b"\xef\xbb\xbf" + GOOD, "no JSON"),
    "very long": (b" " * (LONGEST_LINE + 1), "16,777,217 bytes long, more than 16,777,216"),
}


@pytest.mark.parametrize(("line", "wrong"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, wrong: str) -> None:
    file = written(tmp_path, GOOD, line)
    with pytest.raises(InputError, match=wrong) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file}, line 2: ")
    assert '{"id": "...", "question": "...", "answer": "..."}' in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*give --data a JSONL file"):
        read_rows(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="Is a directory"):
        read_rows(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match="is empty; it needs a line"):
        read_rows(tmp_path / "empty.jsonl")


def test_odd_but_good_rows(tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    rows = [
        {"id": "a", "question": "line\u2028break\u0085\n", "answer": "\u2028x"},
        {"id": "b", "question": "q", "answer": "0", "level": 3, "more": {"any": []}},
    ]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    examples = read_rows(file)
    assert [e.question for e in examples] == ["line\u2028break\u0085\n", "q"]
    assert [e.level for e in examples] == [None, "3"]


def test_limit_and_shuffle(tmp_path: Path) -> None:
    rows = [json.dumps({"id": f"r{i}", "question": "q", "answer": "a"}).encode() for i in range(40)]
    file, task = written(tmp_path, *rows), find_task("gsm8k")

    def ids(limit: int | None, seed: int, shuffle: bool) -> list[str]:
        found = load_examples(task, data=file, limit=limit, seed=seed, shuffle=shuffle)
        return [e.id for e in found]

    assert ids(3, 0, False) == ["r0", "r1", "r2"]
    assert len(ids(None, 0, False)) == len(ids(99, 0, False)) == 40
    mixed = ids(None, 1, True)
    assert sorted(mixed) == sorted(ids(None, 0, False)) != mixed
    assert ids(7, 1, True) == mixed[:7] != ids(7, 2, True)
    with pytest.raises(InputError, match="limit is 0; it must be at least 1"):
        ids(0, 0, False)
    with pytest.raises(InputError, match="difficulty 2 is for wordproblems"):
        load_examples(task, data=file, seed=0, difficulty=2)


def test_fingerprints_tell_sets_apart(tmp_path: Path) -> None:
    task = find_task("wordproblems")
    ten, nine = (load_examples(task, limit=n, seed=0) for n in (10, 9))
    assert fingerprint(ten) == fingerprint(load_examples(task, limit=10, seed=0))
    assert len({fingerprint(e) for e in (ten, nine, ten[::-1])}) == 3


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown task 'gsm9k'; did you mean 'gsm8k'"):
        find_task("gsm9k")
