"""Rewinding, splicing, joining and sharing."""

from __future__ import annotations

import pytest
from laws import FREE, GREEDY, PATH, TURNS, alike, needs, opened, same_future

from ponder.runtime import (
    Branch,
    CapabilityError,
    ContextOverflow,
    Engine,
    InputError,
    SpliceMode,
)


@needs("decode")
async def test_rewinding_to_the_prompt_undoes_a_reply(engine: Engine) -> None:
    branch = await opened(engine)
    mark = len(branch.tokens)
    params = FREE if engine.capabilities.seed else GREEDY
    first = await branch.extend(params)
    branch.rewind(mark)
    assert (branch.text, len(branch.tokens)) == ("", mark)
    assert (await branch.extend(params)).tokens == first.tokens


@needs("prefix_continuation")
async def test_rewinding_to_any_mark_is_as_if_it_had_not_gone_on(engine: Engine) -> None:
    for kept in range(1, 4):
        rewound, straight = [await opened(engine) for _ in range(2)]
        for _ in range(kept):
            for branch in (rewound, straight):
                await branch.append(" b")
        mark = len(rewound.tokens)
        await rewound.extend(FREE)
        rewound.rewind(mark)
        assert (rewound.tokens, rewound.text) == (straight.tokens, straight.text)
        ahead = [(await branch.extend(GREEDY)).text for branch in (rewound, straight)]
        assert ahead[0] == ahead[1]


async def test_a_branch_is_rewound_within_its_tokens(engine: Engine) -> None:
    branch = await opened(engine)
    for bad in (0, -1, len(branch.tokens) + 1):
        with pytest.raises(InputError, match="rewind"):
            branch.rewind(bad)


async def appended(engine: Engine, text: str) -> tuple[Branch, int]:
    """A branch that was given text, and where the text begins."""
    branch = await opened(engine)
    border = len(branch.tokens)
    await branch.append(text)
    return branch, border


@needs("splice", "prefix_continuation")
async def test_what_is_encoded_again_is_as_if_it_were_new(engine: Engine) -> None:
    """Compared where the edited text has the same tokens when it is given at once."""
    compared = 0
    for start, stop, text in [(0, 2, ""), (1, 3, " x y"), (4, 4, " u"), (3, 4, ""), (0, 4, " v")]:
        branch, border = await appended(engine, " a b c d")
        spliced = branch.usage.prompt
        behind = len(branch.tokens) - border - stop
        await branch.splice(border + start, border + stop, text)
        fresh, _ = await appended(engine, branch.text)
        if engine.capabilities.fork == "kv":
            given = len(branch.tokens) - border - start
            assert branch.usage.prompt - spliced == given >= behind
        if branch.tokens == fresh.tokens:
            compared += 1
            await same_future(branch, fresh, engine)
    assert compared >= 3


@needs("splice", "token_ids")
async def test_a_splice_moves_where_the_text_begins(engine: Engine) -> None:
    branch, border = await appended(engine, " a b c")
    text = branch.text
    await branch.splice(1, 3, "R")
    assert branch.text == text
    moved = border - 2 + engine.count("R")
    assert engine.spell(branch.tokens[moved:]) == text
    await branch.splice(moved - 1, moved + 1, "")
    assert branch.text == engine.spell(branch.tokens[moved - 1 :])
    branch.rewind(2)
    assert branch.text == ""


@needs("splice", "prefix_continuation")
async def test_joined_tails_are_as_if_appended(engine: Engine) -> None:
    root = await opened(engine)
    border = len(root.tokens)
    left, middle, right = root.fork(3)
    await left.append(" a")
    await right.append(" b c")
    assert (tuple(left.tail), tuple(root.tail)) == (left.tokens[border:], tuple(root.tokens))
    charged = root.usage.prompt
    await root.join([left, middle, right])
    fresh, _ = await appended(engine, " a b c")
    assert (root.tokens, root.text) == (fresh.tokens, " a b c")
    if engine.capabilities.fork == "kv":
        assert root.usage.prompt - charged == len(root.tokens) - border
    await same_future(root, fresh, engine)
    await right.append(" d")
    assert (right.text, root.text.startswith(" a b c")) == (" b c d", True)


async def test_edits_that_are_not_declared_are_refused(engine: Engine) -> None:
    for mode in SpliceMode:
        root, border = await appended(engine, " a b c")
        (left,) = root.fork(1)
        await left.append(" x")
        before = root.usage
        for edit in (root.splice(border, border + 1, mode=mode), root.join([left], mode)):
            if mode in engine.capabilities.splice:
                await edit
            else:
                with pytest.raises(CapabilityError, match=mode.name):
                    await edit
                assert (root.usage, root.text) == (before, " a b c")


async def test_sharing_shows_others_or_is_refused(engine: Engine) -> None:
    root = await opened(engine)
    one, other = root.fork(2)
    if not engine.capabilities.live_views:
        with pytest.raises(CapabilityError, match="live views"):
            one.share([other])
        return
    alone = await one.logits()
    one.share([other])
    await other.append(" a b c")
    with pytest.raises(AssertionError):
        alike(await one.logits(), alone)
    with pytest.raises(InputError, match="forks of the same branch"):
        one.share([root])


@needs("splice")
async def test_wrong_edits_are_refused(engine: Engine) -> None:
    root, border = await appended(engine, " a b")
    left, right = root.fork(2)
    stranger = await engine.open(TURNS, path=PATH.child("stranger"))
    for others in ([root], [left, left], [right.fork(1)[0]], [stranger]):
        with pytest.raises(InputError, match="forks of this branch"):
            await root.join(others)
    with pytest.raises(InputError, match=f"splice {border + 1}"):
        await root.splice(border + 1, border)
    with pytest.raises(InputError, match="leaves no token"):
        await root.splice(0, len(root.tokens))
    assert root.text == " a b"


@needs("context_length", "token_ids")
async def test_given_text_that_does_not_fit_is_refused(engine: Engine) -> None:
    branch, border = await appended(engine, " a")
    before = branch.usage
    long = " b" * (engine.capabilities.context_length or 0)
    with pytest.raises(ContextOverflow):
        await branch.append(long)
    if engine.capabilities.splice:
        with pytest.raises(ContextOverflow):
            await branch.splice(border, border + 1, long)
    assert (branch.text, branch.usage) == (" a", before)


async def test_pins_are_taken_back_once_each(engine: Engine) -> None:
    branch = await opened(engine)
    branch.pin()
    branch.pin()
    branch.unpin()
    branch.unpin()
    with pytest.raises(InputError, match="not pinned"):
        branch.unpin()
