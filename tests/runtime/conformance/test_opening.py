"""Opening a branch: what it costs, what it holds, what is refused."""

from __future__ import annotations

import pytest
from laws import FREE, ONE, PATH, TURNS, needs, opened, used
from subjects import Subject

from ponder.runtime import CapabilityError, ContextOverflow, Engine, Message, Usage


async def test_a_prompt_costs_what_it_counts(engine: Engine) -> None:
    branch = await opened(engine)
    counted = engine.count(TURNS)
    assert counted > 0
    if engine.capabilities.fork == "kv":
        assert branch.usage.prompt == len(branch.tokens) == counted
        return
    assert branch.usage == Usage(), "nothing is charged before it is sent"
    await used(engine, branch)
    assert branch.usage.prompt > 0


@needs("decode")
async def test_text_is_what_the_tokens_spell(engine: Engine) -> None:
    branch = await opened(engine)
    prompt = len(branch.tokens)
    assert branch.text == ""
    segment = await branch.extend(FREE)
    assert segment.text == branch.text == engine.spell(branch.tokens[prompt:])
    assert segment.tokens == tuple(branch.tokens[prompt:])


@needs("decode")
async def test_raw_text_is_taken_or_refused(engine: Engine) -> None:
    branch = await engine.open("Once upon", path=PATH)
    try:
        segment = await branch.extend(FREE)
    except CapabilityError:
        assert branch.usage == Usage()
        return
    assert segment.text == branch.text
    assert branch.usage.decoded > 0


@needs("decode")
async def test_a_prompt_beyond_the_context_is_refused(engine: Engine, subject: Subject) -> None:
    words = " a" * subject.overlong
    turns = [Message(role="user", content=words)]
    if engine.capabilities.fork == "kv":
        with pytest.raises(ContextOverflow):
            await engine.open(turns, path=PATH)
    else:
        branch = await engine.open(turns, path=PATH)
        with pytest.raises(ContextOverflow):
            await branch.extend(ONE)
        assert branch.text == ""
    assert (await (await opened(engine)).extend(ONE)).usage.decoded == 1


async def test_an_unknown_adapter_is_refused(engine: Engine) -> None:
    with pytest.raises(CapabilityError, match="'poet'"):
        await engine.open(TURNS, path=PATH, adapter="poet")
    assert engine.stats().branches == 0


async def test_the_clock_goes_forward(engine: Engine) -> None:
    before = engine.clock()
    await used(engine, await opened(engine))
    assert engine.clock() >= before
    assert engine.name
