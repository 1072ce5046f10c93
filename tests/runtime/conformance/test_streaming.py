"""A stream is its segment in pieces."""

from __future__ import annotations

from laws import FREE, GREEDY, LONG, needs, opened

from ponder.runtime import Engine, Finish, Sampling


@needs("decode")
async def test_pieces_join_to_what_extend_gives(engine: Engine) -> None:
    whole, parts = [await opened(engine) for _ in range(2)]
    params = FREE if engine.capabilities.seed else GREEDY
    segment = await whole.extend(params)
    deltas = [delta async for delta in parts.stream(params)]
    *before, last = deltas
    assert "".join(delta.text for delta in deltas) == segment.text == parts.text
    assert all(delta.segment is None for delta in before)
    assert last.segment is not None
    assert (last.segment.text, last.segment.tokens) == (segment.text, segment.tokens)
    assert last.segment.finish is segment.finish
    assert last.segment.usage.decoded == segment.usage.decoded


@needs("stream", "decode")
async def test_pieces_come_as_they_are_drawn(engine: Engine) -> None:
    branch = await opened(engine)
    deltas = [delta async for delta in branch.stream(LONG)]
    assert len([delta for delta in deltas if delta.text]) > 1


@needs("decode")
async def test_a_stop_string_is_in_the_pieces(engine: Engine) -> None:
    whole = (await (await opened(engine)).extend(GREEDY)).text
    stop = next(c for c in whole[2:] if c != "\ufffd")
    branch = await opened(engine)
    params = Sampling(max_tokens=8, temperature=0, stop=(stop,))
    deltas = [delta async for delta in branch.stream(params)]
    last = deltas[-1].segment
    assert last is not None
    assert last.finish is Finish.STOP
    assert "".join(delta.text for delta in deltas) == last.text == branch.text
    assert stop in last.text


@needs("decode")
async def test_a_stream_that_is_left_keeps_what_came(engine: Engine) -> None:
    branch = await opened(engine)
    prompt = len(branch.tokens)
    stream = branch.stream(LONG)
    first = await anext(aiter(stream))
    close = getattr(stream, "aclose")  # noqa: B009 - an iterator need not have it
    await close()
    assert branch.text.startswith(first.text)
    assert engine.spell(branch.tokens[prompt:]) == branch.text
    assert branch.usage.decoded > 0
    branch.rewind(prompt)
    assert (await branch.extend(FREE)).text == branch.text
