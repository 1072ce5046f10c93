"""Texts held to a grammar: they fit, whole or in pieces, and are drawn from what it leaves."""

from __future__ import annotations

import json
import re

import pytest
from laws import FREE, likeliest, needs, opened

from ponder.runtime import CapabilityError, Engine, Grammar, InputError, Sampling, Usage

BEGINNING = "[xy]u[pq]"
"""That the script of the laws can say."""
SOME = Grammar(kind="regex", text=f"{BEGINNING}(?s:.*)")
OTHERS = (
    Grammar(kind="json_schema", text=json.dumps({"type": "integer"})),
    Grammar(kind="lark", text='start: "x"'),
)


def held(max_tokens: int, start: int | None = None, temperature: float = 1.0) -> Sampling:
    return Sampling(
        max_tokens=max_tokens, temperature=temperature, grammar=SOME, grammar_start=start
    )


@needs("grammars")
async def test_a_constrained_text_fits_its_grammar(engine: Engine) -> None:
    for i in range(4):
        segment = await (await opened(engine, i)).extend(held(12))
        assert re.match(BEGINNING, segment.text)


@needs("grammar_start")
async def test_a_constrained_text_can_be_extended(engine: Engine) -> None:
    whole = await opened(engine)
    await whole.extend(held(6))
    branch = await opened(engine)
    start = len(branch.tokens)
    for _ in range(3):
        await branch.extend(held(2, start))
    assert branch.text == whole.text
    (child,) = branch.fork(1)
    child.rewind(start + 1)
    await child.extend(held(4, start))
    assert re.match(BEGINNING, child.text)


@needs("grammars", "logits")
async def test_the_likeliest_of_what_is_allowed_is_drawn(engine: Engine) -> None:
    branch = await opened(engine)
    logits = list(await branch.logits())
    allowed = [t for t in range(len(logits)) if logits[t] > -1e30 and fits(engine, t)]
    wanted = allowed[likeliest([logits[t] for t in allowed])]
    assert (await branch.extend(held(1, temperature=0.0))).tokens == (wanted,)


def fits(engine: Engine, token: int) -> bool:
    return token < 0x110000 and engine.spell([token])[:1] in ("x", "y")


@needs("grammars")
async def test_what_is_no_grammar_is_refused(engine: Engine) -> None:
    branch = await opened(engine)
    broken = Sampling(max_tokens=3, grammar=Grammar(kind="regex", text="a("))
    with pytest.raises(InputError, match="unclosed group"):
        await branch.extend(broken)
    assert branch.text == ""
    assert (await branch.extend(FREE)).text


@needs("decode")
async def test_grammars_that_are_not_declared_are_refused(engine: Engine) -> None:
    for grammar in (SOME, *OTHERS):
        if grammar.kind in engine.capabilities.grammars:
            continue
        branch = await opened(engine)
        before = branch.usage
        with pytest.raises(CapabilityError, match="grammar"):
            await branch.extend(Sampling(max_tokens=3, grammar=grammar))
        assert (branch.usage, branch.text) == (before, "")
    if "regex" in engine.capabilities.grammars and not engine.capabilities.grammar_start:
        branch = await opened(engine)
        assert branch.usage == Usage()
        await branch.extend(held(2))
        with pytest.raises(CapabilityError, match=r"in the middle|go on from the beginning"):
            await branch.extend(held(2, len(branch.tokens) - 1))
