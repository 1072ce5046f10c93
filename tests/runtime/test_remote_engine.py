"""What an endpoint can do is found out; siblings share requests; requests share a limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_letters

import pytest
from fault_server import Manner, Server, serving
from scripted_endpoint import Json, ScriptedModel

from ponder.runtime import (
    BranchPath,
    CapabilityError,
    Chat,
    Finish,
    InputError,
    Message,
    ModelError,
    Prompt,
    Sampling,
    Segment,
    SpliceMode,
    ToolCall,
    open_engine,
)
from ponder.runtime.remote.abilities import Abilities, Prefix
from ponder.runtime.remote.batch import Member, runs
from ponder.runtime.remote.cache import forget
from ponder.runtime.remote.connect import connect
from ponder.runtime.remote.counting import shares
from ponder.runtime.remote.engine import RemoteEngine
from ponder.runtime.remote.growing import Growing
from ponder.runtime.remote.limit import AdaptiveLimit
from ponder.runtime.remote.wire import Choice

PATH = BranchPath(5, ("remote",))
TURNS = (Message(role="user", content="What is 2 and 3?"),)
ALL = Sampling(max_tokens=100)
LACKS: dict[str, tuple[Manner, str, object]] = {
    "prefix": (Manner(prefix=None), "prefix", None),
    "field": (Manner(prefix="prefix"), "prefix", Prefix.FIELD),
    "last": (Manner(prefix="last"), "prefix", Prefix.CONTINUE),
    "n": (Manner(choices=1), "choices", 1),
    "some": (Manner(choices=3), "choices", 1),
    "seed": (Manner(seed=False), "seed", False),
    "ladder": (Manner(ladder=False), "ladder", False),
    "stop": (Manner(stop=False), "stop_told", False),
    "logprobs": (Manner(logprobs=False), "logprobs", False),
    "confidence": (Manner(likeliest=0), "confidence", 0),
    "two": (Manner(likeliest=2), "confidence", 0),
    "echo": (Manner(echo=False), "scores", False),
    "tokenize": (Manner(tokenize=False), "scores", False),
    "usage": (Manner(usage=False), "usage", False),
    "top_k": (Manner(sharp=False), "top_k", False),
    "min_p": (Manner(sharp=False), "min_p", False),
    "limit": (Manner(limit="max_completion_tokens"), "limit", "max_completion_tokens"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = {"all": Manner(), "crowded": Manner(fault="429"), "many": Manner(choices=1)}
    with serving({**models, **{name: lack[0] for name, lack in LACKS.items()}}) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    forget()


async def forked(engine: RemoteEngine, n: int) -> Sequence[Segment]:
    root = await engine.open(TURNS, path=PATH)
    return await asyncio.gather(*(fork.extend(ALL) for fork in root.fork(n)))


@pytest.mark.parametrize("name", LACKS)
def test_probes_find_what_an_endpoint_lacks(server: Server, name: str) -> None:
    _, ability, value = LACKS[name]
    found, whole = (connect(m, base_url=server.url).manner.abilities for m in (name, "all"))
    assert getattr(found, ability) == value
    if name != "last":  # an endpoint that goes on anyway minds no fields
        assert getattr(whole, ability) != value
    depend = {"seed": {"ladder"}, "usage": {"scores"}, "limit": {"completions", "scores"}}
    depend |= {"top_k": {"min_p"}, "min_p": {"top_k"}, "n": {"ladder"}, "some": {"ladder"}}
    for other in {"prefix", "seed", "ladder", "stop_told", "logprobs", "scores", "usage", "stream"}:
        if other not in {ability, *depend.get(name, ())}:
            assert getattr(found, other) == getattr(whole, other), other


def test_an_endpoint_that_can_do_all(server: Server) -> None:
    can = connect("all", base_url=server.url).capabilities
    assert can.prefix_continuation == "exact"
    assert all((can.seed, can.logprobs, can.prompt_logprobs, can.stream, can.top_k, can.min_p))
    assert (can.fork, can.token_ids, can.logits, can.context_length) == ("text", False, False, None)
    assert not connect("ladder", base_url=server.url).capabilities.seed, "who shares, matters"


@pytest.mark.parametrize(("told", "found"), [(50, 20), (20, 20), (19, 5), (5, 5), (4, 0)])
def test_probes_find_how_many_likeliest_tokens_are_told(told: int, found: int) -> None:
    letters = ScriptedModel(lambda prompt: {f"{letter} it is": 1.0 for letter in ascii_letters})
    with serving({"it": Manner(likeliest=told)}, letters) as server:
        engine = connect("it", base_url=server.url)
        assert engine.capabilities.confidence == found
        assert connect("it", base_url=server.url, logprobs=False).capabilities.confidence == 0


def test_confidence_is_of_chat_alone(server: Server) -> None:
    async def body() -> None:
        branch = await connect("all", base_url=server.url).open("raw text", path=PATH)
        with pytest.raises(CapabilityError, match="give chat turns"):
            await branch.extend(replace(ALL, confidence=2))

    asyncio.run(body())


def test_an_endpoint_that_tells_no_others_any_more(server: Server) -> None:
    engine = connect("all", base_url=server.url)
    silent = RemoteEngine(engine.endpoint, "confidence", engine.manner.abilities)

    async def body() -> None:
        branch = await silent.open(TURNS, path=PATH)
        with pytest.raises(ModelError, match="probe it again"):
            await branch.extend(replace(ALL, confidence=2))
        assert branch.text == ""

    asyncio.run(body())


def test_siblings_share_a_request_and_draw_as_if_alone(server: Server) -> None:
    engine, alone = (connect(name, base_url=server.url) for name in ("all", "many"))
    server.requests.clear()
    together = asyncio.run(forked(engine, 40))
    assert [body["n"] for body in server.requests] == [40]
    server.requests.clear()
    apart = asyncio.run(forked(alone, 40))
    assert len(server.requests) == 40
    assert [s.text for s in apart] == [s.text for s in together]
    assert len({s.text for s in together}) == 3
    prompts = [s.usage.prompt for s in together]
    assert prompts == [prompts[0], *[0] * 39], "the prompt is charged once"
    assert sum(s.usage.decoded for s in together) == sum(s.usage.decoded for s in apart)
    assert engine.stats().branches == 41


def test_equal_seeds_make_equal_requests(server: Server) -> None:
    engine = connect("all", base_url=server.url)
    server.requests.clear()
    for _ in range(2):
        asyncio.run(forked(engine, 3))
    first, second = server.requests
    assert first == second


def test_only_neighbours_share_on_a_ladder(server: Server) -> None:
    abilities = connect("all", base_url=server.url).manner.abilities

    def places(entered: Sequence[int], abilities: Abilities) -> list[list[int]]:
        members = {place: object.__new__(Member) for place in entered}
        made = runs([(place, members[place]) for place in entered], abilities)
        number = {id(member): place for place, member in members.items()}
        return [[number[id(member)] for member in part] for part in made]

    assert places([0, 1, 3, 4, 9], abilities) == [[0, 1], [3, 4], [9]]
    assert [len(part) for part in places(range(300), abilities)] == [128, 128, 44]


@pytest.mark.parametrize("n", [1, 38, 64, 300])
def test_many_at_once_hang_nowhere(server: Server, n: int) -> None:
    engine = connect("many", base_url=server.url.replace("127.0.0.1", "localhost"))
    segments = asyncio.run(asyncio.wait_for(forked(engine, n), 60))
    assert len(segments) == n
    assert all(s.finish is Finish.EOS for s in segments)


def test_a_loop_keeps_its_connections(server: Server) -> None:
    engine = connect("many", base_url=server.url)

    async def run() -> None:
        before = server.connections
        for _ in range(5):
            await forked(engine, 4)
        assert server.connections - before == 4

    asyncio.run(run())
    asyncio.run(run())  # another loop, connections of its own


def test_a_limit_halves_once_a_burst_and_grows_slowly() -> None:
    async def run() -> None:
        limit, most, inside = AdaptiveLimit(8), 0, 0

        async def work() -> None:
            nonlocal most, inside
            async with limit.place():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(50)))
        assert most == 8
        async with limit.place() as one, limit.place() as other:
            limit.shrink(one)
            limit.shrink(other)
        assert limit.allowed == 1
        for _ in range(1 + 2 + 3):
            limit.grow()
        assert limit.allowed == 4
        async with limit.place(), limit.place(), limit.place(), limit.place():
            waiting = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.gather(*(work() for _ in range(9)))
        assert limit.inside == 0

    asyncio.run(run())


def test_begun_replies_go_on_only_where_they_can(server: Server) -> None:
    lacking = connect("prefix", base_url=server.url)
    helped = connect("prefix", base_url=server.url, allow_fallback=True)
    assert lacking.capabilities.prefix_continuation is None
    assert helped.capabilities.prefix_continuation == "restated"

    async def go_on(engine: RemoteEngine) -> Json:
        branch = await engine.open(TURNS, path=PATH)
        await branch.append("Let us see: ")
        await branch.extend(ALL)
        return server.requests[-1]

    with pytest.raises(CapabilityError, match="--allow-fallback"):
        asyncio.run(go_on(lacking))
    [turn] = asyncio.run(go_on(helped))["messages"]
    assert turn["role"] == "user"
    assert turn["content"].startswith(TURNS[0].content)
    assert "\n---\nLet us see: \n---\n" in turn["content"]


def test_what_an_endpoint_cannot_do_is_refused(server: Server) -> None:
    engine = connect("top_k", base_url=server.url)

    async def run() -> None:
        branch = await engine.open(TURNS, path=PATH)
        with pytest.raises(CapabilityError, match="'top_k'"):
            await branch.extend(Sampling(max_tokens=3, top_k=2))
        with pytest.raises(CapabilityError, match="turns"):
            branch.rewind(3)
        assert (await branch.extend(ALL)).text

    asyncio.run(run())


def test_tools_and_other_fields_are_passed_through(server: Server) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    call = ToolCall(id="c1", name="add", arguments='{"a": 1}')
    turns = (
        *TURNS,
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="5", tool_call_id="c1", name="add"),
    )
    engine = connect("all", base_url=server.url)

    async def sent(prompt: Prompt) -> Json:
        async with await engine.open(prompt, path=PATH) as branch:
            await branch.extend(ALL)
        return server.requests[-1]

    wishes = {"tools": [tool], "tool_choice": "required", "response_format": {"type": "text"}}
    body = asyncio.run(sent(Chat(messages=turns, fields=wishes)))
    assert {name: body[name] for name in wishes} == wishes
    function = {"name": "add", "arguments": '{"a": 1}'}
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "5", "tool_call_id": "c1", "name": "add"},
    ]
    assert "tools" not in asyncio.run(sent(TURNS))
    with pytest.raises(CapabilityError, match="does not obey 'servce'; known: parallel_tool"):
        asyncio.run(sent(Chat(messages=TURNS, fields={"servce": "fast"})))


def test_endpoints_are_for_openai_models_alone() -> None:
    with pytest.raises(InputError, match="did you mean 'openai:scripted'"):
        open_engine("scripted", base_url="http://localhost:1/v1")


@pytest.mark.parametrize(
    ("total", "weights"), [(10, [1, 1, 1]), (7, [0, 0]), (0, [3, 4]), (100, [5, 0, 95, 1])]
)
def test_shares_add_up(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == total
    assert all(
        abs(part - total * weight / (sum(weights) or 1)) < 1
        for part, weight in zip(parts, weights, strict=True)
        if sum(weights)
    )
    assert json.dumps(parts) == json.dumps(shares(total, weights))


def test_a_branch_is_edited_as_text(server: Server) -> None:
    engine = connect("all", base_url=server.url)

    async def run() -> None:
        root = await engine.open(TURNS, path=PATH)
        border = len(root.tokens)
        await root.append("one two three")
        one, other = root.fork(2)
        await one.append(" four")
        await other.append(" five")
        await root.join([other, one])
        assert root.text == "one two three five four"
        await root.splice(border + 4, border + 8, "2 ")
        assert root.text == "one 2 three five four"
        assert one.tail == tuple(map(ord, " four"))
        with pytest.raises(CapabilityError, match="KEEP"):
            await root.splice(border, border + 1, "", SpliceMode.KEEP)
        with pytest.raises(CapabilityError, match="turns"):
            await root.splice(1, 2)
        with pytest.raises(CapabilityError, match="live views"):
            one.share([other])
        raw = await engine.open("one two", path=PATH)
        await raw.append(" three")
        await raw.splice(4, 9, "and")
        assert "".join(map(chr, raw.tokens)) == "one andhree"

    asyncio.run(run())


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_kept_apart_from_the_reply(field: str) -> None:
    growing = Growing(ALL, "here", cut=False)
    for said in ({field: "Hm, "}, {field: "5."}, {"content": "It is"}, {"content": " 5."}):
        growing.feed(Choice.model_validate({"delta": said}))
    growing.feed(Choice.model_validate({"delta": {}, "finish_reason": "stop"}))
    growing.check()
    assert (growing.reasoning, growing.text) == ("Hm, 5.", "It is 5.")
    assert growing.finish is Finish.EOS


def test_tool_calls_come_in_pieces() -> None:
    growing = Growing(ALL, "here", cut=False)
    for part in ({"id": "c1", "function": {"name": "add", "arguments": '{"a"'}},
                 {"function": {"arguments": ": 1}"}}):  # fmt: skip
        growing.feed(Choice.model_validate({"delta": {"tool_calls": [{"index": 0, **part}]}}))
    growing.feed(Choice.model_validate({"delta": {}, "finish_reason": "tool_calls"}))
    growing.check()
    assert growing.finish is Finish.TOOLS
    assert growing.tool_calls() == (ToolCall(id="c1", name="add", arguments='{"a": 1}'),)
