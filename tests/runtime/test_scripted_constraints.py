"""The scripted engine under a grammar, against enumeration of its script."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping

import pytest

from ponder.runtime import BranchPath, Finish, Grammar, InputError, Sampling, ScriptedEngine
from ponder.runtime.script import END, next_token

REPLIES = {"cat": 4.0, "cap": 1.0, "caf\u00e9": 2.0, "ca": 1.0, "dog": 3.0, "do": 1.0, "x": 6.0}


def script(_: str) -> Mapping[str, float]:
    return REPLIES


def masked(pattern: str, said: str = "", reach: float = 1.0) -> dict[str, float]:
    """Probabilities of whole replies, each token's distribution restricted to what some reply that
    matches begins with.
    """
    fitting = [reply for reply in ["caps", *REPLIES] if re.fullmatch(pattern, reply)]
    model = {
        token: p
        for token, p in next_token(script, "", said).items()
        if (
            said in fitting
            if token == END
            else any(w.startswith(said + chr(token)) for w in fitting)
        )
    }
    found: dict[str, float] = {}
    for token, p in model.items():
        share = reach * p / sum(model.values())
        found |= {said: share} if token == END else masked(pattern, said + chr(token), share)
    return found


@pytest.mark.parametrize("pattern", ["c.*", "ca[tp]?|do", "caf\u00e9|x", "[^x]+"])
def test_replies_come_as_often_as_masking_says(pattern: str) -> None:
    draws = 3000

    async def draw() -> Counter[str]:
        engine = ScriptedEngine(script)
        root = await engine.open("?", path=BranchPath(5))
        params = Sampling(max_tokens=9, grammar=Grammar(kind="regex", text=pattern))
        segments = await asyncio.gather(*(b.extend(params) for b in root.fork(draws)))
        assert all(s.finish is Finish.EOS for s in segments)
        return Counter(s.text for s in segments)

    wanted, counts = masked(pattern), asyncio.run(draw())
    assert counts.keys() == wanted.keys()
    for reply, p in wanted.items():
        assert abs(counts[reply] / draws - p) < 4.5 * (p * (1 - p) / draws) ** 0.5 + 1e-9


def test_pieces_are_the_whole_and_its_beginning_is_checked() -> None:
    async def go() -> None:
        engine = ScriptedEngine(script)
        grammar = Grammar(kind="regex", text="caf\u00e9|cat")
        whole = await engine.open("?", path=BranchPath(6))
        await whole.extend(Sampling(max_tokens=9, grammar=grammar))
        parts = await engine.open("?", path=BranchPath(6))
        for finish in (*[Finish.LENGTH] * len(whole.text), Finish.EOS):
            piece = Sampling(max_tokens=1, grammar=grammar, grammar_start=1)
            assert (await parts.extend(piece)).finish is finish
        assert parts.text == whole.text
        parts.rewind(2)
        await parts.extend(Sampling(max_tokens=9, grammar=grammar, grammar_start=1))
        assert parts.text in ("cat", "caf\u00e9")
        with pytest.raises(InputError, match=r"after '' it does not allow '\?'"):
            await parts.extend(Sampling(max_tokens=9, grammar=grammar, grammar_start=0))

    asyncio.run(go())


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (
            Grammar(kind="regex", text="zebra"),
            "'cdx' or its end, and the regex grammar allows none",
        ),
        (Grammar(kind="regex", text=r"[^\s\S]"), "no token of this model's can begin"),
        (Grammar(kind="json_schema", text=json.dumps({"type": "null"})), "allows none of it"),
    ],
)
def test_what_the_script_cannot_say_is_refused(grammar: Grammar, words: str) -> None:
    async def go() -> None:
        branch = await ScriptedEngine(script).open("?", path=BranchPath(6))
        await branch.extend(Sampling(max_tokens=9, grammar=grammar))

    with pytest.raises(InputError, match=words):
        asyncio.run(go())
