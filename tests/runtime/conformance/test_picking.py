"""Tokens that a caller picks of the logits it is shown (`Branch.draw`)."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from laws import BRIEF, CLOSE, FREE, GREEDY, PATH, alike, needs, opened

from ponder.runtime import (
    Branch,
    BranchClosed,
    CapabilityError,
    Choose,
    Engine,
    Finish,
    InputError,
    Row,
    Sampling,
    Usage,
)


async def best(row: Row) -> int:
    return int(row.argmax())


async def none(row: Row) -> None:
    return None


def drawing(branch: Branch) -> Choose:
    """As `extend` draws at temperature 1: the inverse CDF at the path's uniform."""

    async def choose(row: Row) -> int:
        p = np.exp(row.astype(np.float64) - row.max())
        point = branch.path.uniform(len(branch.tokens)) * p.sum()
        return int(p.cumsum().searchsorted(point, side="right"))

    return choose


async def run(branch: Branch, choose: Choose, most: int) -> tuple[list[int], Finish]:
    drawn, finish = list[int](), Finish.LENGTH
    while len(drawn) < most and finish is Finish.LENGTH:
        segment = await branch.draw(choose)
        drawn += segment.tokens
        finish = segment.finish
    return drawn, finish


@needs("logits")
async def test_picking_the_likeliest_is_greedy(engine: Engine) -> None:
    greedy, picked = await opened(engine), await opened(engine)
    segment = await greedy.extend(GREEDY)
    drawn, _ = await run(picked, best, len(segment.tokens))
    assert tuple(drawn) == segment.tokens
    assert picked.text == greedy.text
    assert picked.usage.decoded == greedy.usage.decoded


@needs("logits", "seed")
async def test_picking_by_chance_is_drawing(engine: Engine) -> None:
    drawn, picked = await opened(engine, "a"), await opened(engine, "a")
    segment = await drawn.extend(FREE)
    tokens, finish = await run(picked, drawing(picked), FREE.max_tokens)
    assert tuple(tokens) == segment.tokens
    assert finish is segment.finish


@needs("logits")
async def test_a_pick_tells_its_logprob_and_its_cost(engine: Engine) -> None:
    drawn, picked = await opened(engine), await opened(engine)
    wanted = await drawn.extend(Sampling(max_tokens=1, temperature=0))
    before = picked.usage
    segment = await picked.draw(best)
    assert abs(segment.logprobs[0] - wanted.logprobs[0]) < CLOSE
    assert segment.usage == Usage(decoded=1) == picked.usage - before


@needs("logits")
async def test_an_end_token_ends_and_is_no_text(engine: Engine) -> None:
    branch = await engine.open(BRIEF, path=PATH)
    end = min(engine.vocabulary().ends)

    async def over(row: Row) -> int:
        return end

    said = branch.text
    segment = await branch.draw(over)
    assert (segment.finish, segment.text, segment.tokens) == (Finish.EOS, "", (end,))
    assert branch.text == said
    assert branch.tokens[-1] == end


@needs("logits")
async def test_what_fails_leaves_the_branch_as_it_was(engine: Engine) -> None:
    branch, other = await opened(engine), await opened(engine)
    await branch.draw(best)
    await other.draw(best)
    before, tokens = branch.usage, branch.tokens

    async def fails(row: Row) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await branch.draw(fails)

    async def strange(row: Row) -> int:
        return len(row)

    with pytest.raises(InputError, match="was picked"):
        await branch.draw(strange)
    assert (branch.tokens, branch.usage) == (tokens, before)
    segment = await branch.draw(none)
    assert (segment.tokens, segment.finish) == ((), Finish.STOP)
    assert branch.tokens == tokens
    assert branch.usage - before == Usage(scored=1)
    assert await run(branch, best, 4) == await run(other, best, 4)


@needs("logits")
async def test_a_number_of_numpy_is_a_token_and_a_fraction_is_none(engine: Engine) -> None:
    branch = await opened(engine)

    async def numpys(row: Row) -> Any:
        return row.argmax()

    async def fraction(row: Row) -> Any:
        return 0.5

    segment = await branch.draw(numpys)
    assert list(map(type, segment.tokens)) == [int]
    assert type(branch.tokens[-1]) is int
    with pytest.raises(InputError, match="was picked"):
        await branch.draw(fraction)


@needs("logits")
async def test_what_is_shown_is_the_callers_to_keep_and_to_change(engine: Engine) -> None:
    kept, plain = await opened(engine), await opened(engine)
    rows = list[Row]()

    async def keeps(row: Row) -> int:
        token = int(row.argmax())
        rows.append(row)
        return token

    async def spoils(row: Row) -> int:
        token = int(row.argmax())
        row[:] = 0.0
        return token

    await kept.draw(keeps)
    before = rows[0].copy()
    for _ in range(3):
        await kept.draw(spoils)
    assert np.array_equal(rows[0], before)
    assert (await run(plain, best, 4))[0] == list(kept.tokens[-4:])


@needs("logits")
async def test_a_branch_forks_and_rewinds_after_picks(engine: Engine) -> None:
    branch = await opened(engine)
    start = len(branch.tokens)
    drawn, _ = await run(branch, best, 5)
    (fork,) = branch.fork(1)
    alike(await branch.logits(), await fork.logits())
    fork.rewind(start + 2)
    again, _ = await run(fork, best, 3)
    assert again == drawn[2:]


@needs("logits")
async def test_others_go_on_while_one_thinks(engine: Engine) -> None:
    thinking, other = await opened(engine, 1), await opened(engine, 2)
    done = asyncio.Event()

    async def waits(row: Row) -> int:
        await done.wait()
        return int(row.argmax())

    pick = asyncio.create_task(thinking.draw(waits))
    await other.extend(FREE)
    await other.draw(best)
    assert not pick.done()
    done.set()
    assert len((await pick).tokens) == 1


@needs("logits")
async def test_closed_while_thinking(engine: Engine) -> None:
    branch = await opened(engine)

    async def closes(row: Row) -> int:
        branch.close()
        return 0

    with pytest.raises(BranchClosed):
        await branch.draw(closes)


@needs("logits")
async def test_one_call_at_a_time_while_thinking(engine: Engine) -> None:
    branch = await opened(engine)

    async def asks(row: Row) -> int:
        with pytest.raises(InputError):
            branch.fork(1)
        return int(row.argmax())

    assert (await branch.draw(asks)).tokens


async def test_without_logits_nothing_is_picked(engine: Engine) -> None:
    if engine.capabilities.logits:
        return
    with pytest.raises(CapabilityError):
        await (await opened(engine)).draw(best)
    if not engine.capabilities.token_ids:
        with pytest.raises(CapabilityError):
            engine.vocabulary()
