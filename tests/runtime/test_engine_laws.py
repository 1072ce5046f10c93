"""Laws that every engine obeys: forks are what separate opens would be, draws depend on the path
alone, and what is reported adds up.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fault_server import Manner, ScriptedModel, serving
from tiny_llama import CONFIG, tiny

from ponder.runtime import (
    Branch,
    BranchClosed,
    BranchPath,
    CapabilityError,
    ContextOverflow,
    Engine,
    Finish,
    InputError,
    Message,
    ModelError,
    Sampling,
    ScriptedEngine,
    SpliceMode,
    open_engine,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.kernels import native

PATH = BranchPath(11, ("laws",))
CHI_SQUARE_999 = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5, 7: 24.3, 8: 26.1, 9: 27.9}
"""Values that a chi-square variable exceeds once in a thousand, by degrees of freedom."""


def script(prompt: str) -> Mapping[str, float]:
    """Long enough to be cut anywhere, with a choice at each letter."""
    return {
        f"{a}{b}{c} end of {prompt[:5]}": 1.0 + i
        for i, a in enumerate("xyz")
        for b in "uv"
        for c in "pqr"
    }


def scripted() -> Engine:
    return ScriptedEngine(script, context_length=512)


def local() -> Engine:
    return LocalEngine(tiny(), pages=1500, threads=1)


def compiled() -> Engine:
    model = tiny(replace(CONFIG, head_dim=16))
    return LocalEngine(model, pages=1500, threads=1, kernels="native")


Make = Callable[[], Engine]


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """The scripted model again, over HTTP. What such an engine cannot do, its capabilities say."""
    with (
        serving({"law": Manner()}, ScriptedModel(script, split=len("prompt"))) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PONDER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield lambda: open_engine("openai:law", base_url=server.url)


LOCAL: dict[str, Make] = {"scripted": scripted, "local": local}
if native.instruction_sets():
    LOCAL["compiled"] = compiled


@pytest.fixture(params=[*LOCAL, "remote"])
def make(request: pytest.FixtureRequest) -> Make:
    name: str = request.param
    maker: Make = LOCAL.get(name) or request.getfixturevalue(name)
    return maker


@asynccontextmanager
async def running(make: Make) -> AsyncIterator[Engine]:
    engine = make()
    try:
        yield engine
    finally:
        await engine.close()


def law(test: Callable[[Engine], Coroutine[Any, Any, None]]) -> Callable[[Make], None]:
    """Run a test of an open engine, and close the engine."""

    def run(make: Make) -> None:
        async def body() -> None:
            async with running(make) as engine:
                await test(engine)

        asyncio.run(body())

    run.__name__ = test.__name__
    return run


FREE = Sampling(max_tokens=12)


@law
async def test_forks_do_not_depend_on_how_they_came_about(engine: Engine) -> None:
    root = await engine.open("prompt", path=PATH)
    await root.extend(Sampling(max_tokens=1))
    drawn = [(await fork.extend(FREE)).tokens for fork in root.fork(3)]
    for i in range(3):
        again = await engine.open("prompt", path=PATH)
        await again.extend(Sampling(max_tokens=1))
        assert (await again.fork(3)[i].extend(FREE)).tokens == drawn[i]
    assert len(set(drawn)) > 1


@law
async def test_forks_of_a_prompt_equal_separate_opens(engine: Engine) -> None:
    root = await engine.open("prompt", path=PATH)
    forked = [await fork.extend(FREE) for fork in root.fork(4)]
    for i, segment in enumerate(forked):
        alone = await engine.open("prompt", path=PATH.child(0, i))
        other = await alone.extend(FREE)
        assert other.tokens == segment.tokens
        assert other.logprobs == pytest.approx(segment.logprobs, abs=1e-4)


@law
async def test_draws_do_not_depend_on_company(engine: Engine) -> None:
    alone = await (await engine.open("prompt", path=PATH)).extend(FREE)
    crowd = [
        await engine.open("prompt" if i % 3 else f"other {i}", path=PATH.child(i))
        for i in range(63)
    ]
    one = await engine.open("prompt", path=PATH)
    segments = await asyncio.gather(*(branch.extend(FREE) for branch in [*crowd, one]))
    assert segments[-1].tokens == alone.tokens


@law
async def test_rewinding_is_as_if_it_never_happened(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    first = await branch.extend(FREE)
    length = len(branch.tokens) - len(first.tokens)
    branch.rewind(length)
    assert branch.text == ""
    assert (await branch.extend(FREE)).tokens == first.tokens
    branch.rewind(length + 2)
    assert branch.tokens[length:] == first.tokens[:2]
    rest = await branch.extend(FREE)
    if engine.capabilities.token_ids:  # else a seed is the whole reply's
        assert rest.tokens[: len(first.tokens) - 2] == first.tokens[2:]
    for bad in (0, -1, len(branch.tokens) + 1):
        with pytest.raises(InputError, match="rewind"):
            branch.rewind(bad)


@law
async def test_score_and_logits_agree_with_extend(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    child, reader = branch.fork(2)
    segment = await child.extend(Sampling(max_tokens=5))
    text = segment.text
    (scored, empty) = await branch.score([text, ""])
    assert empty.tokens == ()
    if scored.tokens == segment.tokens:
        assert scored.logprobs == pytest.approx(segment.logprobs, abs=1e-4)
    if not engine.capabilities.logits:
        with pytest.raises(CapabilityError, match="logits"):
            await reader.logits()
        return
    for token, logprob in zip(segment.tokens, segment.logprobs, strict=True):
        logits = await reader.logits()
        norm = math.log(math.fsum(math.exp(v) for v in logits))
        assert logits[token] - norm == pytest.approx(logprob, abs=1e-4)
        bias = ((token, 1000.0),)
        await reader.extend(Sampling(max_tokens=1, bias=bias))
    assert reader.tokens == child.tokens


@law
async def test_logits_of_a_span_are_those_there_were(engine: Engine) -> None:
    if not engine.capabilities.logits:
        pytest.skip("no logits to look at")
    branch = await engine.open("prompt", path=PATH)
    start = len(branch.tokens)
    want = []
    for _ in range(3):
        want.append(await branch.logits())
        await branch.extend(Sampling(max_tokens=1))
    assert branch.usage.scored == 3
    got = await branch.span_logits(start - 1, start + 2)
    assert branch.usage.scored == 6
    for one, other in zip(got, want, strict=True):
        assert list(one) == pytest.approx(list(other), abs=1e-4)
    for span in ((start, start), (start, start + 4), (-1, 2)):
        with pytest.raises(InputError, match="start < "):
            await branch.span_logits(*span)


@law
async def test_what_an_engine_cannot_read_it_refuses(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    assert engine.capabilities.heads == ()
    with pytest.raises(CapabilityError, match="'reward'"):
        await branch.read("reward")
    if engine.capabilities.hidden_states:
        assert len(await branch.embed()) == len(await branch.embed("last", 2)) > 1
    else:
        with pytest.raises(CapabilityError, match="hidden states"):
            await branch.embed()


@law
async def test_scoring_commits_nothing(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    before = branch.tokens
    twice = [await branch.score(["xup", "y", "nothing like it"]) for _ in range(2)]
    assert branch.tokens == before
    assert [s.tokens for s in twice[0]] == [s.tokens for s in twice[1]]
    together = [part.total for part in twice[0]]
    assert together == pytest.approx([part.total for part in twice[1]], abs=1e-4)
    assert branch.usage.scored == 2 * sum(len(part.tokens) for part in twice[0])


@law
async def test_a_stream_is_its_segment_in_pieces(engine: Engine) -> None:
    branches = [await engine.open("prompt", path=PATH) for _ in range(2)]
    whole = await branches[0].extend(FREE)
    deltas = [delta async for delta in branches[1].stream(FREE)]
    assert "".join(delta.text for delta in deltas) == whole.text
    assert deltas[-1].segment is not None
    assert deltas[-1].segment.tokens == whole.tokens
    assert all(delta.segment is None for delta in deltas[:-1])


@law
async def test_temperature_zero_is_greedy(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    if not engine.capabilities.logits:
        twin = await engine.open("prompt", path=PATH.child("other"))
        greedy = Sampling(max_tokens=5, temperature=0)
        assert (await branch.extend(greedy)).text == (await twin.extend(greedy)).text
        return
    for _ in range(4):
        logits = await branch.logits()
        best = max(logits)
        segment = await branch.extend(Sampling(max_tokens=1, temperature=0))
        assert segment.tokens == (list(logits).index(best),)


@law
async def test_usage_adds_up_to_stats(engine: Engine) -> None:
    root = await engine.open([Message(role="user", content="prompt")], path=PATH)
    await root.append(" and more")
    forks = root.fork(5)
    await asyncio.gather(*(fork.extend(FREE) for fork in forks))
    await asyncio.gather(*(fork.score(["x", "abc"]) for fork in forks))
    twin = await engine.open([Message(role="user", content="prompt")], path=PATH)
    branches = [root, twin, *forks]
    stats = engine.stats()
    total = sum((b.usage for b in branches[1:]), branches[0].usage)
    assert total.prompt == stats.prefilled + stats.cached
    assert (total.cached, total.decoded, total.scored) == (
        stats.cached,
        stats.decoded,
        stats.scored,
    )
    if engine.capabilities.fork == "kv":  # else the past is charged with each call
        assert total.prompt == 2 * engine.count([Message(role="user", content="prompt")]) + 9
    assert stats.branches == 7
    if engine.capabilities.fork == "kv":  # else whoever computes it does not tell
        given = stats.prefilled - stats.opened
        done = given + stats.decoded + stats.scored + stats.recomputed + stats.dropped
        assert (stats.opened, stats.computed) == (2, done)
    for branch in branches:
        branch.close()
    assert engine.stats().branches == 0


@law
async def test_a_closed_branch_refuses(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    branch.close()
    branch.close()
    calls: list[Callable[[], object]] = [lambda: branch.fork(1), lambda: branch.rewind(1)]
    for call in calls:
        with pytest.raises(BranchClosed, match="laws"):
            call()
    for coroutine in (
        branch.extend(FREE),
        branch.append("x"),
        branch.score(["x"]),
        branch.logits(),
        branch.span_logits(5, 6),
    ):
        with pytest.raises(BranchClosed, match="laws"):
            await coroutine
    if engine.capabilities.token_ids:
        assert len(branch.tokens) == engine.count("prompt")


@law
async def test_a_closed_engine_refuses(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    await engine.close()
    await engine.close()
    with pytest.raises(ModelError, match="closed"):
        await branch.extend(FREE)
    with pytest.raises(ModelError, match="closed"):
        await engine.open("prompt", path=PATH)


@law
async def test_bad_input_is_refused(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    for n in (0, -3):
        with pytest.raises(InputError, match=str(n)):
            branch.fork(n)
    with pytest.raises(CapabilityError, match="'poet'"):
        await engine.open("prompt", path=PATH, adapter="poet")
    if engine.capabilities.context_length is not None:
        with pytest.raises(ContextOverflow, match=r"(?s)600.*512"):
            await engine.open("x" * 600, path=PATH)
        with pytest.raises(ContextOverflow, match="600"):
            await branch.append("x" * 600)
    assert (await branch.extend(Sampling(max_tokens=1))).tokens


@law
async def test_decoding_ends_where_it_should(engine: Engine) -> None:
    branch = await engine.open("x" * 505, path=PATH)
    full = await branch.extend(Sampling(max_tokens=50, bias=((0, -math.inf),)))
    if full.finish is not Finish.EOS and engine.capabilities.context_length is not None:
        assert full.finish is Finish.LENGTH
        assert len(branch.tokens) == 512
        assert (await branch.extend(FREE)).tokens == ()
    late = await engine.open("prompt", path=PATH)
    segment = await late.extend(FREE, deadline=engine.clock() - 1)
    assert (segment.finish, segment.tokens) == (Finish.BUDGET, ())


@law
async def test_a_stop_string_ends_it(engine: Engine) -> None:
    branch, other = [await engine.open("prompt", path=PATH) for _ in range(2)]
    whole = (await branch.extend(Sampling(max_tokens=6))).text
    stop = whole[1:3]
    segment = await other.extend(Sampling(max_tokens=6, stop=("never", stop)))
    assert segment.finish is Finish.STOP
    assert whole.startswith(segment.text)
    assert stop in segment.text


@law
async def test_appended_text_counts_and_continues(engine: Engine) -> None:
    branch = await engine.open("pro", path=PATH)
    await branch.append("mpt")
    await branch.append("")
    if engine.capabilities.token_ids:
        assert branch.usage.prompt == len(branch.tokens) == engine.count("prompt")
    assert branch.text == "mpt"


async def same_future(one: Branch, other: Branch, engine: Engine) -> None:
    """Whether both go on alike, as far as the engine tells."""
    if engine.capabilities.logits:
        assert await one.logits() == pytest.approx(await other.logits(), abs=1e-4)
    else:
        ahead = [await branch.score(["x", "y"]) for branch in (one, other)]
        assert [s.total for s in ahead[0]] == pytest.approx([s.total for s in ahead[1]], abs=1e-4)


@law
async def test_reencoding_is_what_a_fresh_open_gives(engine: Engine) -> None:
    for start, stop, text in [(0, 2, ""), (2, 4, "xyz"), (6, 6, "u"), (4, 6, ""), (1, 6, "vv")]:
        branch = await engine.open("prompt", path=PATH)
        await branch.splice(start, stop, text)
        whole = "prompt"[:start] + text + "prompt"[stop:]
        fresh = await engine.open(whole.removesuffix(branch.text), path=PATH)
        await fresh.append(branch.text)
        assert branch.tokens == fresh.tokens
        if engine.capabilities.fork == "kv":  # else nothing is charged before it is sent
            assert branch.usage.prompt == 6 + len(text) + 6 - stop
        await same_future(branch, fresh, engine)


@law
async def test_joined_tails_are_as_if_appended(engine: Engine) -> None:
    root = await engine.open("prompt", path=PATH)
    left, middle, right = root.fork(3)
    await left.append("x")
    await right.append("up")
    assert (list(left.tail), list(root.tail)) == ([ord("x")], list(root.tokens))
    await root.join([left, middle, right])
    fresh = await engine.open("prompt", path=PATH)
    await fresh.append("xup")
    assert (root.tokens, root.text) == (fresh.tokens, "xup")
    if engine.capabilities.fork == "kv":
        assert root.usage.prompt == 9
    await same_future(root, fresh, engine)
    await right.append("p")
    assert right.text == "upp"


@law
async def test_what_is_text_after_a_splice(engine: Engine) -> None:
    branch = await engine.open("prompt", path=PATH)
    await branch.append("xup")
    await branch.splice(1, 3, "R")
    assert branch.text == "xup"
    await branch.splice(6, 7, "--")
    assert branch.text == "x--p"
    await branch.splice(3, 7, "?")
    assert branch.text == "?-p"
    branch.rewind(2)
    assert branch.text == ""


@law
async def test_edits_are_refused_by_what_an_engine_can_do(engine: Engine) -> None:
    root = await engine.open("prompt", path=PATH)
    left, right = root.fork(2)
    await left.append("x")
    for mode in SpliceMode:
        for edit in (root.splice(1, 2, mode=mode), root.join([left], mode)):
            if mode in engine.capabilities.splice:
                await edit
            else:
                with pytest.raises(CapabilityError, match=r"REENCODE"):
                    await edit
    if not engine.capabilities.live_views:
        with pytest.raises(CapabilityError, match="live views"):
            left.share([right])
    for others in ([root], [left, left], [right.fork(1)[0]]):
        with pytest.raises(InputError, match="forks of this branch"):
            await root.join(others)
    with pytest.raises(InputError, match="splice 3"):
        await root.splice(3, 2)
    with pytest.raises(InputError, match="leaves no token"):
        await root.splice(0, len(root.tokens))
    if engine.capabilities.context_length is not None:
        with pytest.raises(ContextOverflow, match="splicing"):
            await root.splice(1, 2, "x" * 600)
    root.pin()
    root.unpin()
    with pytest.raises(InputError, match="not pinned"):
        root.unpin()
    right.close()
    with pytest.raises(BranchClosed):
        await right.splice(1, 2)
    with pytest.raises(BranchClosed):
        await root.join([right])


async def frequencies(branches: Sequence[Branch], params: Sampling) -> Counter[int]:
    segments = await asyncio.gather(*(branch.extend(params) for branch in branches))
    return Counter(segment.tokens[0] for segment in segments)


@law
async def test_draws_follow_the_model(engine: Engine) -> None:
    """Chi-square at one in a thousand (the seed is fixed, so it holds or not), over the likeliest
    tokens and the rest.
    """
    root = await engine.open("prompt", path=PATH)
    if not engine.capabilities.logits:
        pytest.skip("no logits to compare with")
    logits = await root.logits()
    norm = math.log(math.fsum(math.exp(v) for v in logits))
    model = {t: math.exp(v - norm) for t, v in enumerate(logits) if v > -math.inf}
    likely = sorted(model, key=lambda t: -model[t])[:8]
    n = 600
    seen = await frequencies(root.fork(n), Sampling(max_tokens=1))
    cells = [(seen[t], n * model[t]) for t in likely]
    rest = n - sum(got for got, _ in cells), n - sum(want for _, want in cells)
    cells += [rest] if rest[1] > 1 else []
    assert set(seen) <= set(model)
    statistic = sum((got - want) ** 2 / want for got, want in cells)
    assert statistic < CHI_SQUARE_999[len(cells) - 1]
