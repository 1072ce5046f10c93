"""Laws of potentials and their guides, against enumeration over small vocabularies."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.runtime import Grammar, InputError, Vocabulary
from ponder.verifiers import Guide, Named, Potential, Predicate, potential_of, predicate, regex
from ponder.verifiers.potentials.grammars import Grammatical

SPELT: list[bytes | None] = [b"a", b"b", b"ab", "é".encode()[:1], "é".encode()[1:], None, None]
"""Two halves of a character, a control token, and the end."""
END = 6
VOCABULARY = Vocabulary(SPELT, frozenset({END}), 7)
BYTES = Vocabulary([*(bytes([byte]) for byte in range(256)), None], frozenset({256}), 257)
PATTERNS = ["a", "ab", "a*b", "(ab)*", "b+a?", "aé", "[ab]{2,3}", "é|ab"]


def matched(pattern: str) -> Predicate:
    """The same language as `regex(pattern)`, by Python."""
    return Predicate(lambda text: re.fullmatch(pattern, text) is not None)


def spelt(tokens: Sequence[int]) -> bytes:
    return b"".join(SPELT[token] or b"" for token in tokens)


def whole(pattern: str, tokens: Sequence[int]) -> bool:
    try:
        return re.fullmatch(pattern, spelt(tokens).decode()) is not None
    except UnicodeDecodeError:
        return False


async def weight(guide: Guide, tokens: Sequence[int]) -> float:
    """Of the whole text, by the chain of ratios."""
    total = 0.0
    for token in (*tokens, END):
        (ratio,) = await guide.weigh([token])
        if ratio == -math.inf:
            return ratio
        total += ratio
        if token != END:
            guide = await guide.after(token)
    return total


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_chain_of_ratios_is_the_weight_of_the_whole(pattern: str) -> None:
    async def check() -> None:
        of_grammar = Grammatical(grammar=regex(pattern)).begin(VOCABULARY)
        by_python = matched(pattern)
        of_predicate = by_python.begin(VOCABULARY)
        for n in range(4):
            for tokens in product(range(6), repeat=n):
                wanted = 0.0 if whole(pattern, tokens) and 5 not in tokens else -math.inf
                assert await weight(of_grammar, tokens) == wanted, tokens
                assert await weight(of_predicate, tokens) == wanted, tokens
        await by_python.close()

    asyncio.run(check())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_prefix_that_a_grammar_allows_can_be_completed(pattern: str) -> None:
    """Within three tokens, as short as these languages are; and masks say what asking says."""

    async def check() -> None:
        for n in range(3):
            for tokens in product(range(5), repeat=n):
                guide: Guide = Grammatical(grammar=regex(pattern)).begin(VOCABULARY)
                viable = True
                for token in tokens:
                    viable = viable and (await guide.weigh([token]))[0] == 0
                    if viable:
                        guide = await guide.after(token)
                ends = [(*tokens, *more) for m in range(4) for more in product(range(5), repeat=m)]
                assert viable == any(whole(pattern, each) for each in ends), tokens
                if viable:
                    mask = guide.mask()
                    assert mask is not None
                    told = [w == 0 for w in await guide.weigh(range(7))]
                    assert mask.tolist() == told

    asyncio.run(check())


@given(st.lists(st.integers(0, 4), max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_guide_is_a_value(tokens: list[int]) -> None:
    async def check() -> None:
        guide: Guide = Grammatical(grammar=regex("(a|b|é)*")).begin(VOCABULARY)
        for token in tokens:
            before = await guide.weigh(range(7))
            if before[token] == -math.inf:
                return
            after = await guide.after(token)
            assert await guide.weigh(range(7)) == before
            again = await (await guide.after(token)).weigh(range(7))
            assert again == await after.weigh(range(7))
            guide = after

    asyncio.run(check())


def soft(text: str) -> float:
    return 0.5 ** text.count("a")


def test_weights_between_0_and_1_multiply() -> None:
    async def check() -> None:
        potential = Predicate(lambda text: 0.25, prefix=soft)
        guide = potential.begin(VOCABULARY)
        assert await guide.weigh([0, 1, 2]) == pytest.approx([math.log(0.5), 0, math.log(0.5)])
        guide = await (await guide.after(0)).after(0)
        assert await guide.weigh([END]) == pytest.approx([math.log(0.25 / 0.25)])
        await potential.close()

    asyncio.run(check())


@given(st.lists(st.integers(0, 255), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_bytes_may_come_that_can_become_characters(spelt: list[int]) -> None:
    check_bytes(bytes(spelt))


@pytest.mark.parametrize("first", [0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5])
def test_bytes_at_the_borders_of_utf_8(first: int) -> None:
    for second in range(256):
        check_bytes(bytes([first, second]))


def check_bytes(spelt: bytes) -> None:
    """Against all ends: what goes on with a character goes on with its lowest or highest bytes."""
    tails = [bytes(t) for n in range(4) for t in product((0x80, 0x8F, 0x90, 0x9F, 0xBF), repeat=n)]
    viable = [any(valid(spelt[:n] + tail) for tail in tails) for n in range(1, len(spelt) + 1)]

    async def check() -> list[bool]:
        guide = Predicate(lambda text: True).begin(BYTES)  # without `prefix`, nobody is asked
        told: list[bool] = []
        for byte in spelt:
            told.append((await guide.weigh([byte]))[0] == 0)
            if not told[-1]:
                break
            guide = await guide.after(byte)
        return told

    told = asyncio.run(check())
    assert told == viable[: len(told)]
    assert len(told) == len(spelt) or not told[-1]


def valid(spelt: bytes) -> bool:
    try:
        spelt.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_a_text_is_asked_about_once() -> None:
    """The functions say how often they were called, by what they give."""

    async def check() -> None:
        potential = Predicate(prefix=counted())
        guide = potential.begin(VOCABULARY)
        first = await guide.weigh([0, 1])
        assert await guide.weigh([1, 0]) == first[::-1]
        await potential.close()

    asyncio.run(check())


def counted() -> Callable[[str], float]:
    calls = [0]

    def prefix(text: str) -> float:
        calls[0] += 1
        return 1 / calls[0]

    return prefix


def raises(text: str) -> bool:
    raise LookupError(f"what is {text!r}?")


def hangs(text: str) -> bool:
    while True:
        pass


def quits(text: str) -> bool:
    os._exit(3)


def killed(text: str) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def deaf(text: str) -> bool:
    """Busy inside of one call into C, where no handler written in Python would run."""
    return bool(9**9**9)


def prints(text: str) -> bool:
    print("hello")
    return sys.stdin.read() == ""


def stubborn(text: str) -> bool:
    while True:
        try:
            time.sleep(10)
        except Exception:
            continue


FAILING: list[tuple[Callable[[str], Any], str]] = [
    (raises, r"complete function 'raises' raised LookupError: what is 'a'\? \(line \d+"),
    (hangs, "did not return within 0.2 s, on 'a'"),
    (stubborn, "did not return within 0.2 s"),
    (quits, "ended its process with status 3, on 'a'"),
    (killed, "ended its process by SIGKILL, on 'a'"),
    (str.swapcase, r"'str.swapcase' gave 'A'"),
    (json.loads, r"raised JSONDecodeError: Expecting value"),
    (deaf, "did not return within 0.2 s"),
    (lambda text: 1.5, r"gave 1.5; it must give True, False or a weight in \[0, 1\], on 'a'"),
    (lambda text: float("nan"), "gave nan"),
    (lambda text: None, "gave None"),
    (lambda text: "yes", "gave 'yes'"),
    (lambda text: [], r"gave \[\]"),
]


@pytest.mark.parametrize(("function", "match"), FAILING)
def test_a_function_that_fails_is_a_clear_error(function: Any, match: str) -> None:
    async def check() -> None:
        hanging = function in (hangs, stubborn, deaf)
        potential = Predicate(function, seconds=0.2 if hanging else 30)
        guide = await potential.begin(VOCABULARY).after(0)
        for _ in range(2):  # and it can be asked again
            with pytest.raises(InputError, match=match):
                await guide.weigh([END])
        await potential.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("bad", "how"), [(quits, "status 3"), (deaf, "not return within"), (raises, "LookupError")]
)
def test_of_many_texts_the_one_that_it_fails_on_is_named(bad: Any, how: str) -> None:
    def function(text: str) -> bool:
        return bad(text) if text == "ab" else True

    async def check() -> None:
        potential = Predicate(prefix=function, seconds=0.3)
        guide = potential.begin(VOCABULARY)
        with pytest.raises(InputError, match=f"prefix function .*{how}.*, on 'ab'"):
            await guide.weigh([0, 1, 2])
        assert await guide.weigh([0, 1]) == [0, 0]
        await potential.close()

    asyncio.run(check())


def test_what_no_other_process_can_have_is_refused() -> None:
    lock = threading.Lock()
    potential = Predicate(lambda text: lock.locked())
    with pytest.raises(InputError, match="cannot be sent to another process"):
        asyncio.run(potential.begin(VOCABULARY).weigh([END]))


def test_no_child_outlives_its_parent() -> None:
    """Not even one whose function hangs, when the parent is killed and cannot end it."""
    program = (
        "import asyncio, os, signal, sys; from ponder.runtime import Vocabulary\n"
        "from ponder.verifiers import Predicate\n"
        "path = sys.argv[1]\n"
        "def hang(text):\n    print(os.getpid(), file=open(path, 'w'), flush=True)\n"
        "    while True: pass\n"
        "potential = Predicate(hang, seconds=3)\n"
        "async def main():\n"
        "    guide = potential.begin(Vocabulary([b'a', None], frozenset({1}), 2))\n"
        "    task = asyncio.create_task(guide.weigh([1]))\n"
        "    while not (os.path.exists(path) and open(path).read().endswith('\\n')):\n"
        "        await asyncio.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pid")
        run = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60)
        assert run.returncode == -signal.SIGKILL
        pid = int(path.read_text())
    for _ in range(1000):
        if not running(pid):
            return
        time.sleep(0.01)
    raise AssertionError("the child is still there")


def running(pid: int) -> bool:
    """A zombie that nobody has collected is not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_functions_may_print_and_read() -> None:
    async def check() -> None:
        potential = Predicate(prints)
        assert await potential.begin(VOCABULARY).weigh([END]) == [0]
        await potential.close()

    asyncio.run(check())


def test_it_serves_one_loop_after_another_and_those_who_give_up() -> None:
    potential = Predicate(prefix=lambda text: "b" not in text)

    async def ask() -> list[float]:
        return await potential.begin(VOCABULARY).weigh([0, 1])

    async def give_up() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        together = await asyncio.gather(*(ask() for _ in range(20)))
        assert together == [[0, -math.inf]] * 20

    asyncio.run(give_up())
    assert asyncio.run(ask()) == [0, -math.inf]
    asyncio.run(potential.close())


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="needs a function"):
        Predicate()
    with pytest.raises(InputError, match="seconds is 0"):
        Predicate(raises, seconds=0)
    with pytest.raises(InputError, match=r"'sql'.*'sq'"):
        potential_of(predicate("sql"), {"sq": Predicate(raises)})
    endless = Vocabulary([b"a"], frozenset(), 1)
    with pytest.raises(InputError, match="no end token"):
        Grammatical(grammar=regex("a")).begin(endless)
    for grammar, match in (
        (regex("(a"), "cannot be read"),
        (Grammar(kind="lark", text="start: ("), "line 1"),
        (Grammar(kind="json_schema", text='{"type": "object", "not": {}}'), "not supported: "),
    ):
        with pytest.raises(InputError, match=match):
            Grammatical(grammar=grammar).begin(VOCABULARY)


def test_a_vocabulary_that_cannot_spell_it_allows_nothing() -> None:
    async def check() -> None:
        guide = Grammatical(grammar=regex("xyz")).begin(VOCABULARY)
        mask = guide.mask()
        assert mask is not None
        assert not mask.any()
        assert await guide.weigh(range(7)) == [-math.inf] * 7

    asyncio.run(check())


def test_a_name_means_what_was_given() -> None:
    potential: Potential = Predicate(raises)
    assert potential_of(Named(predicate="p"), {"p": potential}) is potential
