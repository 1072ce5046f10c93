"""Decoding: where it ends, and what it says of the end."""

from __future__ import annotations

import math

import pytest
from laws import BRIEF, BROKEN, FREE, GREEDY, ONE, PATH, needs, opened
from subjects import Subject

from ponder.runtime import Engine, Finish, Message, Sampling, Usage


@pytest.mark.parametrize("most", [1, 3, 7])
@needs("decode")
async def test_no_more_than_max_tokens_are_drawn(engine: Engine, most: int) -> None:
    branch = await opened(engine)
    segment = await branch.extend(Sampling(max_tokens=most))
    if segment.finish is Finish.EOS:
        assert segment.usage.decoded <= most
        return
    assert (segment.finish, segment.usage.decoded) == (Finish.LENGTH, most)
    if engine.capabilities.token_ids:
        assert len(segment.tokens) == most


@needs("decode")
async def test_the_end_of_a_turn_is_told(engine: Engine, subject: Subject) -> None:
    branch = await engine.open(BRIEF, path=PATH)
    segment = await branch.extend(subject.ending)
    assert segment.finish is Finish.EOS
    assert segment.text == branch.text
    assert "<|im_end|>" not in segment.text
    if engine.capabilities.token_ids:
        assert engine.spell(segment.tokens[:-1]) == engine.spell(segment.tokens) == segment.text


@needs("decode")
async def test_a_stop_string_ends_it_across_tokens(engine: Engine) -> None:
    whole = (await (await opened(engine)).extend(Sampling(max_tokens=12, temperature=0))).text
    tried = 0
    for start in range(min(6, len(whole) - 3)):
        stop = whole[start : start + 3]
        if BROKEN in stop:
            continue
        tried += 1
        branch = await opened(engine)
        params = Sampling(max_tokens=12, temperature=0, stop=("never there", stop))
        segment = await branch.extend(params)
        assert segment.finish is Finish.STOP
        assert segment.text == branch.text
        assert whole.startswith(segment.text.rstrip(BROKEN))
        assert whole.find(stop) + len(stop) <= len(segment.text)
        if engine.capabilities.token_ids:
            assert stop not in engine.spell(segment.tokens[:-1])
        else:
            assert segment.text.endswith(stop)
    assert tried


@needs("decode")
async def test_the_first_of_several_stops_ends_it(engine: Engine) -> None:
    whole = (await (await opened(engine)).extend(Sampling(max_tokens=12, temperature=0))).text
    early, late = (s for s in (whole[2:4], whole[-3:-1]))
    if BROKEN in early + late:
        early, late = (next(c for c in w if c != BROKEN) for w in (whole, whole[::-1]))
    params = Sampling(max_tokens=12, temperature=0, stop=(late, early))
    segment = await (await opened(engine)).extend(params)
    first = min(whole.find(stop) + len(stop) for stop in (early, late))
    assert segment.finish is Finish.STOP
    assert first <= len(segment.text)
    if not engine.capabilities.token_ids:
        assert len(segment.text) == first


@needs("token_ids", "decode")
async def test_what_is_forbidden_is_not_drawn(engine: Engine) -> None:
    first = (await (await opened(engine)).extend(Sampling(max_tokens=1, temperature=0))).tokens[0]
    bias = ((first, -math.inf),)
    for temperature in (0.0, 1.0, 3.0):
        branch = await opened(engine, str(temperature))
        params = Sampling(max_tokens=8, temperature=temperature, bias=bias)
        assert first not in (await branch.extend(params)).tokens


@needs("decode")
async def test_a_deadline_that_has_passed_draws_nothing(engine: Engine) -> None:
    branch = await opened(engine)
    before, counted = branch.usage, engine.stats()
    segment = await branch.extend(FREE, deadline=engine.clock() - 1)
    assert (segment.finish, segment.tokens, segment.text) == (Finish.BUDGET, (), "")
    deltas = [d async for d in branch.stream(FREE, deadline=engine.clock() - 1)]
    assert [(d.text, d.segment and d.segment.finish) for d in deltas] == [("", Finish.BUDGET)]
    assert segment.usage == Usage()
    assert branch.usage == before
    assert engine.stats().decoded == counted.decoded
    assert (await branch.extend(ONE)).usage.decoded == 1


@needs("context_length", "token_ids", "decode")
async def test_a_full_context_ends_it(engine: Engine) -> None:
    most = engine.capabilities.context_length or 0
    if most > 4096:
        pytest.skip("a context too long to fill here")
    words = 1
    while engine.count(" a" * (words + 1)) <= most - 5:
        words += 1
    branch = await engine.open(" a" * words, path=PATH)
    segment = await branch.extend(Sampling(max_tokens=50))
    if segment.finish is not Finish.EOS:
        assert (segment.finish, len(branch.tokens)) == (Finish.LENGTH, most)
        assert (await branch.extend(FREE)).tokens == ()


@needs("prefix_continuation", "decode")
async def test_a_branch_goes_on_from_what_it_said(engine: Engine) -> None:
    parts, whole = [await opened(engine) for _ in range(2)]
    first = await parts.extend(Sampling(max_tokens=3, temperature=0))
    second = await parts.extend(Sampling(max_tokens=5, temperature=0))
    assert parts.text == first.text + second.text
    segment = await whole.extend(GREEDY)
    if engine.capabilities.token_ids:
        assert first.tokens + second.tokens == segment.tokens
    else:
        assert segment.text.startswith(first.text)


@needs("prefix_continuation", "decode")
async def test_a_branch_goes_on_from_what_it_was_given(engine: Engine) -> None:
    branch = await opened(engine)
    before = branch.usage
    await branch.append("")
    await branch.append("xu")
    await branch.append("p")
    if engine.capabilities.fork == "kv":
        assert branch.usage.prompt - before.prompt == len(branch.tokens) - engine.count(
            [Message(role="user", content="Write a few random letters.")]
        )
    segment = await branch.extend(FREE)
    assert branch.text == "xup" + segment.text
