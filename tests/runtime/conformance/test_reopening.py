"""A branch opened again goes on as it would have."""

from __future__ import annotations

import pytest
from laws import FREE, PATH, TURNS, needs, opened, same_future

from ponder.runtime import (
    Branch,
    BranchPath,
    ContextOverflow,
    Engine,
    Finish,
    InputError,
    SpliceMode,
    Standing,
    Usage,
)


async def again(engine: Engine, branch: Branch) -> Branch:
    """It holds, says and descends from what the original does."""
    reopened = await engine.reopen(TURNS, branch.standing())
    assert reopened.path == branch.path
    assert reopened.tokens == branch.tokens
    assert reopened.tail == branch.tail
    assert reopened.text == branch.text
    assert reopened.standing() == branch.standing()
    return reopened


async def alike(one: Branch, other: Branch) -> None:
    drawn = [await branch.extend(FREE) for branch in (one, other)]
    assert drawn[0].tokens == drawn[1].tokens
    assert drawn[0].text == drawn[1].text
    assert one.text == other.text


@needs("prefix_continuation", "seed")
async def test_a_branch_opened_again_draws_what_it_would_have(engine: Engine) -> None:
    branch = await opened(engine)
    await branch.extend(FREE)
    await alike(branch, await again(engine, branch))


@needs("seed")
async def test_a_branch_opened_again_before_its_first_token(engine: Engine) -> None:
    branch = await opened(engine)
    await alike(branch, await again(engine, branch))


@needs("prefix_continuation", "seed")
async def test_a_rewound_branch_opened_again(engine: Engine) -> None:
    branch = await opened(engine)
    start = len(branch.tokens)
    await branch.extend(FREE)
    branch.rewind(start + 4)
    reopened = await again(engine, branch)
    assert len(reopened.standing().tokens) == 4
    await alike(branch, reopened)


@needs("prefix_continuation", "seed")
async def test_a_fork_opened_again(engine: Engine) -> None:
    parent = await opened(engine)
    await parent.extend(FREE)
    _, child = parent.fork(2)
    await child.append(" so")
    reopened = await again(engine, child)
    await alike(child, reopened)


@needs("prefix_continuation", "seed")
async def test_forks_of_a_branch_opened_again_are_those_it_would_have_had(engine: Engine) -> None:
    parent = await opened(engine)
    await parent.extend(FREE)
    parent.fork(3)
    reopened = await again(engine, parent)
    for one, other in zip(parent.fork(2), reopened.fork(2), strict=True):
        assert one.path == other.path
        await alike(one, other)


async def test_forks_with_names_are_apart_from_counted_ones(engine: Engine) -> None:
    parent = await opened(engine)
    (first,) = parent.fork(1)
    one, other = parent.fork(2, name="0")
    (second,) = parent.fork(1)
    paths = [branch.path for branch in (first, one, other, second)]
    assert paths == [PATH.child(*steps) for steps in ((0, 0), ("0", 0), ("0", 1), (1, 0))]


@needs("prefix_continuation")
async def test_all_of_a_branch_opened_again_is_prompt(engine: Engine) -> None:
    branch = await opened(engine)
    await branch.extend(FREE)
    reopened = await again(engine, branch)
    if engine.capabilities.fork == "kv":
        assert reopened.usage.prompt == reopened.usage.tokens == len(reopened.tokens)
    else:
        assert reopened.usage == Usage()
        assert reopened.resent == branch.resent
    await same_future(branch, reopened, engine)


async def test_a_closed_branch_tells_where_it_stood(engine: Engine) -> None:
    branch = await opened(engine)
    before = branch.standing()
    branch.close()
    assert branch.standing() == before


async def test_a_branch_without_its_prompt_stands_nowhere(engine: Engine) -> None:
    """Where an engine lets a prompt be cut."""
    branch = await engine.open("Once upon a time", path=PATH)
    branch.rewind(1)
    with pytest.raises(InputError, match="the prompt of branch"):
        branch.standing()


@needs("live_views")
async def test_what_tokens_alone_do_not_define_stands_nowhere(engine: Engine) -> None:
    parent = await opened(engine)
    start = len(parent.tokens)
    await parent.append("a b c d e f g")
    one, other = parent.fork(2)
    one.share([other])
    with pytest.raises(InputError, match="its tokens alone do not define it"):
        one.standing()
    await other.splice(start + 1, start + 2, "", SpliceMode.KEEP)
    with pytest.raises(InputError, match="edit with mode REENCODE"):
        other.standing()
    await again(engine, parent)


@needs("token_ids")
async def test_a_full_branch_opened_again_is_full(engine: Engine) -> None:
    """But where an engine needs room to open anything."""
    full = (engine.capabilities.context_length or 0) - engine.count(TURNS)
    standing = Standing(path=PATH, tokens=(65,) * full)
    try:
        branch = await engine.reopen(TURNS, standing)
    except ContextOverflow:
        return
    segment = await branch.extend(FREE)
    assert (segment.tokens, segment.finish) == ((), Finish.LENGTH)


async def test_tokens_of_no_model_are_refused(engine: Engine) -> None:
    for token in (-1, 2**40):
        with pytest.raises(InputError, match=f"token {token} of branch"):
            await engine.reopen(TURNS, Standing(path=PATH, tokens=(token,)))
    assert engine.stats().branches == 0


@needs("token_ids")
async def test_more_tokens_than_the_context_holds_are_refused(engine: Engine) -> None:
    held = engine.capabilities.context_length or 0
    with pytest.raises(ContextOverflow, match="open it on one that holds them"):
        await engine.reopen(TURNS, Standing(path=PATH, tokens=(65,) * held))


def test_a_standing_is_of_natural_numbers() -> None:
    with pytest.raises(InputError, match="own is -1; it must be at least 0"):
        Standing(path=BranchPath(0), own=-1)
    with pytest.raises(InputError, match="forks is -2; it must be at least 0"):
        Standing(path=BranchPath(0), forks=-2)
