"""Log-probabilities, logits, heads, hidden states: consistent with draws, never committed."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from laws import CLOSE, FREE, GREEDY, alike, log_softmax, needs, opened

from ponder.runtime import Branch, CapabilityError, Engine, InputError, Sampling, Usage


@needs("decode")
async def test_log_probabilities_are_told_or_not(engine: Engine) -> None:
    segment = await (await opened(engine)).extend(FREE)
    if not engine.capabilities.logprobs:
        assert segment.logprobs == ()
        return
    assert len(segment.logprobs) in (segment.usage.decoded, segment.usage.decoded - 1)
    assert all(value <= 1e-6 for value in segment.logprobs)
    if engine.capabilities.token_ids:
        assert len(segment.logprobs) == len(segment.tokens)


@needs("logprobs")
async def test_settings_do_not_change_log_probabilities(engine: Engine) -> None:
    """They are the model's own, of temperature 1 and nothing left out."""
    cold = await (await opened(engine)).extend(GREEDY)
    sharp = Sampling(max_tokens=8, temperature=1.7, top_p=1e-6)
    hot = await (await opened(engine)).extend(sharp)
    assert hot.text == cold.text
    assert hot.logprobs == pytest.approx(cold.logprobs, abs=CLOSE)


@needs("logprobs", "logits")
async def test_log_probabilities_are_the_logits(engine: Engine) -> None:
    drawn, reader = (await opened(engine)).fork(2)
    segment = await drawn.extend(Sampling(max_tokens=5))
    for token, logprob in zip(segment.tokens, segment.logprobs, strict=True):
        assert log_softmax(await reader.logits())[token] == pytest.approx(logprob, abs=CLOSE)
        await reader.extend(Sampling(max_tokens=1, bias=((token, 1000.0),)))
    assert reader.tokens == drawn.tokens


@needs("logprobs", "prompt_logprobs")
async def test_a_score_is_the_sum_that_drawing_reports(engine: Engine) -> None:
    branch, drawn = (await opened(engine)).fork(2)
    segment = await drawn.extend(Sampling(max_tokens=5, temperature=0))
    (scored,) = await branch.score([segment.text])
    same = scored.tokens == segment.tokens or not engine.capabilities.token_ids
    if same and len(scored.logprobs) == len(segment.logprobs):
        assert scored.total == pytest.approx(sum(segment.logprobs), abs=10 * CLOSE)
    if not engine.capabilities.token_ids:
        assert len(scored.logprobs) == len(segment.logprobs)
        return
    # Text of one's choice, drawn by force.
    (scored,) = await branch.score([" yes"])
    for token, logprob in zip(scored.tokens, scored.logprobs, strict=True):
        if logprob == -math.inf:
            break  # no force will do
        forced = Sampling(max_tokens=1, bias=((token, 1e6),))
        (fork,) = branch.fork(1)
        assert (await fork.extend(forced)).logprobs == pytest.approx([logprob], abs=CLOSE)
        branch = fork


@needs("prompt_logprobs")
async def test_scoring_commits_nothing(engine: Engine) -> None:
    branch = await opened(engine)
    before = branch.tokens
    texts = ["xup", " yes", "", "nothing like it"]
    first, second = [await branch.score(texts) for _ in range(2)]
    assert branch.tokens == before
    assert [s.tokens for s in first] == [s.tokens for s in second]
    totals = [[s.total for s in scored] for scored in (first, second)]
    assert totals[0] == pytest.approx(totals[1], abs=CLOSE)
    assert (first[2].tokens, first[2].logprobs) == ((), ())
    assert branch.usage.scored == sum(len(s.logprobs) for s in (*first, *second))


@needs("logits")
async def test_logits_of_a_span_are_those_there_were(engine: Engine) -> None:
    branch = await opened(engine)
    start, want = len(branch.tokens), list[list[float]]()
    for _ in range(3):
        want.append(list(await branch.logits()))
        await branch.extend(Sampling(max_tokens=1))
    assert branch.usage.scored == 3
    got = await branch.span_logits(start - 1, start + 2)
    assert branch.usage.scored == 6
    for one, other in zip(got, want, strict=True):
        alike(one, other)
    for span in ((start, start), (start, start + 4), (-1, 2)):
        with pytest.raises(InputError, match="start < "):
            await branch.span_logits(*span)


@needs("hidden_states")
async def test_hidden_states_are_pooled(engine: Engine) -> None:
    branch = await opened(engine)
    mean, last = await branch.embed(), await branch.embed("last", 2)
    assert len(mean) == len(last) > 1
    assert mean != last
    assert branch.usage.scored == len(branch.tokens) + 1


async def test_heads_are_read_by_name(engine: Engine) -> None:
    branch = await opened(engine)
    with pytest.raises(CapabilityError, match="'no such head'"):
        await branch.read("no such head")
    assert branch.usage.scored == 0
    await branch.append(" a")
    for head in engine.capabilities.heads:
        before = branch.usage.scored
        (one,), (two,) = [await branch.read(head) for _ in range(2)]
        assert one == pytest.approx(two, abs=CLOSE)
        assert branch.usage.scored == before + 2
        if not engine.capabilities.token_ids:
            with pytest.raises(CapabilityError, match="start"):
                await branch.read(head, 0)


@needs("heads", "token_ids")
async def test_heads_are_read_at_every_token(engine: Engine) -> None:
    for head in engine.capabilities.heads:
        branch = await opened(engine)
        outputs = await branch.read(head, 0)
        assert len(outputs) == len(branch.tokens) == branch.usage.scored
        assert len(set(outputs)) > 1
        (last,) = await branch.read(head)
        assert last == pytest.approx(outputs[-1], abs=CLOSE)


async def test_readings_that_are_not_declared_are_refused(engine: Engine) -> None:
    can = engine.capabilities
    branch = await opened(engine)
    before, counted = branch.usage, engine.stats()
    calls: list[tuple[bool, Callable[[Branch], Coroutine[Any, Any, object]]]] = [
        (can.prompt_logprobs, lambda b: b.score(["x"])),
        (can.logits, lambda b: b.logits()),
        (can.logits, lambda b: b.span_logits(0, 1)),
        (can.hidden_states, lambda b: b.embed()),
    ]
    for declared, call in calls:
        if not declared:
            with pytest.raises(CapabilityError):
                await call(branch)
    assert branch.usage == before
    assert engine.stats() == counted or can.logits
    if can.fork == "text":
        assert before == Usage()
