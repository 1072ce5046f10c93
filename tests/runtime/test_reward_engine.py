"""Reward models at an endpoint: probed, read in batches, honest about failures."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import Manner, serving
from opinions import attempts
from reward_server import SEPARATOR, RewardServer, by_length, rewarding

from ponder.runtime import (
    BranchPath,
    CapabilityError,
    ContextOverflow,
    InputError,
    Message,
    ModelError,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    Usage,
    open_engine,
)
from ponder.runtime.reward.engine import RewardEngine
from ponder.verifiers import Question, Verdict, step_verifier_kind, verifier_kind

PATH = BranchPath(3, ("reward",))
TURNS = (Message(role="user", content="How many?"),)
STEPS = ("x" * 20 + "\n\n", "x" * 50 + "\n\n", "x" * 90)
CONTRACTS = ["rewards", "steps", "tokens", "whole"]


def reward_engine(server: RewardServer, *, attempts: int = 3, **settings: Any) -> RewardEngine:
    made = open_engine("reward:prm", base_url=server.url, **settings)
    assert isinstance(made, RewardEngine)
    server.asked.clear()
    patient = replace(made.contract.endpoint, attempts=attempts)
    return RewardEngine(replace(made.contract, endpoint=patient))


def read_all(engine: RewardEngine, texts: Sequence[tuple[str, ...]]) -> list[float | Exception]:
    """What is said at the end of each solution, all read at once."""

    async def one(index: int, steps: tuple[str, ...]) -> float:
        async with await engine.open(TURNS, path=PATH.child(index)) as branch:
            for step in steps:
                await branch.append(step)
            (row,) = await branch.read("reward")
        return row[-1]

    async def run() -> list[Any]:
        jobs = (one(i, steps) for i, steps in enumerate(texts))
        return await asyncio.gather(*jobs, return_exceptions=True)

    found = asyncio.run(run())
    assert engine.stats().branches == 0
    return found


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with rewarding() as server:
        yield server


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_contract_is_found_out(contract: str) -> None:
    with rewarding(contract=contract) as server:
        engine = reward_engine(server)
        pools = engine.contract.pools
        assert (pools.shape.name.lower() if pools else "rewards") == contract
        separator = SEPARATOR if contract == "steps" else ""
        steps = tuple(step + separator for step in STEPS)
        (value,) = read_all(engine, [steps])
        want = {"rewards": 0.9, "steps": 0.9, "tokens": 1.0, "whole": 5.0}
        assert value == pytest.approx(want[contract])
        assert engine.name.startswith("reward:prm@127.0.0.1")


def test_what_is_no_reward_model_is_told_so() -> None:
    with serving({"prm": Manner()}) as plain, pytest.raises(InputError) as told:
        open_engine("reward:prm", base_url=plain.url)
    assert all(word in str(told.value) for word in ("/rewards", "/pooling", "docs/rewards.md"))


def test_embeddings_do_not_pass_for_rewards() -> None:
    with rewarding(contract="vectors") as server, pytest.raises(ModelError, match="64 numbers"):
        open_engine("reward:prm", base_url=server.url)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, "needs its endpoint's address"),
        ({"base_url": "nonsense"}, "base URL is 'nonsense'"),
        ({"base_url": "http://127.0.0.1:9/v1", "allow_fallback": True}, "takes no allow_fallback"),
        ({"base_url": "http://127.0.0.1:9/v1", "context_length": 5}, "takes no context_length"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        open_engine("reward:prm", **settings)


def test_absent_models_wrong_keys_and_dead_endpoints() -> None:
    with rewarding(key="right") as server:
        with pytest.raises(InputError, match="did you mean 'prm'"):
            open_engine("reward:prn", base_url=server.url, api_key="right")
        with pytest.raises(InputError, match="is the key right"):
            open_engine("reward:prm", base_url=server.url, api_key="wrong")
        open_engine("reward:prm", base_url=server.url, api_key="right")
    with pytest.raises(ModelError, match="is it up"):
        open_engine("reward:prm", base_url=server.url)
    with rewarding() as server:
        server.fault = "html"
        with pytest.raises(ModelError, match="malformed reply"):
            open_engine("reward:prm", base_url=server.url)


def test_steps_are_what_was_appended_whatever_was_edited(server: RewardServer) -> None:
    engine = reward_engine(server)

    async def run() -> None:
        async with await engine.open(TURNS, path=PATH) as root:
            with pytest.raises(InputError, match="holds no step"):
                await root.read("reward")
            await root.append("abc")
            await root.append("de")
            one, two = root.fork(2)
            border = len(root.tokens) - 5
            one.rewind(border + 4)
            assert list(one.steps) == ["abc", "d"]
            await two.append("fgh")
            assert list(two.steps) == ["abc", "de", "fgh"]
            await two.splice(border + 1, border + 3, "XYZ")
            assert list(two.steps) == ["aXYZ", "de", "fgh"]
            await two.splice(border, border + 4)
            assert list(two.steps) == ["de", "fgh"]
            await root.append("tail")
            (fork,) = root.fork(1)
            await fork.append("!")
            await root.join([fork])
            assert list(root.steps) == ["abc", "de", "tail", "!"]
            root.rewind(border)
            assert list(root.steps) == []
            assert "".join(two.steps) == two.text
            for branch in (one, two, fork):
                branch.close()

    asyncio.run(run())


def test_what_it_cannot_do_is_refused(server: RewardServer) -> None:
    engine = reward_engine(server)

    async def run() -> None:
        branch = await engine.open(TURNS, path=PATH)
        await branch.append("a step")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: branch.extend(Sampling(max_tokens=1)),
            lambda: anext(branch.stream(Sampling(max_tokens=1))),
            lambda: branch.score(["x"]),
            lambda: branch.logits(),
            lambda: branch.embed(),
            lambda: branch.read("reward", 0),
            lambda: branch.read("value"),
        ]
        for call in calls:
            with pytest.raises(CapabilityError):
                await call()
        assert (branch.usage, server.asked) == (Usage(), [])
        await engine.close()
        with pytest.raises(ModelError, match="closed"):
            await branch.read("reward")
        branch.close()

    asyncio.run(run())


@pytest.mark.parametrize("contract", CONTRACTS)
def test_reads_of_one_moment_share_requests(contract: str) -> None:
    with rewarding(contract=contract) as server:
        engine = reward_engine(server)
        end = SEPARATOR if contract == "steps" else ""
        texts = [("x" * (i % 90 + 1) + end,) for i in range(150)]
        found = read_all(engine, texts)
        sizes = [len(body.get("inputs") or body["input"]) for body in server.asked]
        assert sorted(sizes) == [22, 64, 64]
        scores = [by_length("", [text.removesuffix(end)])[0] for (text,) in texts]
        assert found == pytest.approx([10 * s - 5 if contract == "whole" else s for s in scores])


def test_usage_does_not_depend_on_company(server: RewardServer) -> None:
    """So budgets bind alike whoever else is read."""
    engine = reward_engine(server)

    async def used(index: int) -> Usage:
        async with await engine.open(TURNS, path=PATH.child(index)) as branch:
            await branch.append("x" * (7 * index + 1))
            assert branch.usage == Usage()
            await branch.read("reward")
            return branch.usage

    async def run() -> None:
        together = await asyncio.gather(*map(used, range(9)))
        assert together == [await used(i) for i in range(9)]
        assert together[2].tokens == len("user: How many?\nassistant: ") + 15
        assert together[2].estimated == 0

    asyncio.run(run())


FAULTS = [
    ("rewards", "nan", "scored step 1 of 3 nan; scores are in"),
    ("rewards", "range", "scored step 1 of 3 1.5"),
    ("rewards", "null", "malformed reply"),
    ("rewards", "count", "told 0 lists of scores for 1"),
    ("rewards", "steps", "told 4 scores for 3"),
    ("rewards", "html", "malformed reply"),
    ("rewards", "hangs up", "the connection failed or broke"),
    ("rewards", "hang", "did not answer within 0.3 seconds"),
    ("steps", "nan", "it must say numbers"),
    ("steps", "null", "malformed reply"),
    ("steps", "count", "told 0 results for 1"),
    ("tokens", "nan", "it must say numbers"),
    ("whole", "null", "malformed reply"),
]


@pytest.mark.parametrize(("contract", "fault", "told"), FAULTS)
def test_failures_are_told_and_judged_as_such(contract: str, fault: str, told: str) -> None:
    with rewarding(contract=contract) as server:
        engine = reward_engine(server, attempts=1, timeout=0.3)
        server.fault = fault
        kind = "qwen_process_reward" if contract == "steps" else "process_reward"
        verdicts = walked(engine, kind)
    assert all(v.score is None for v in verdicts)
    assert told in (verdicts[-1].failure or "")
    assert (verdicts[-1].failure or "").startswith("the verifier's engine failed: ")


def walked(engine: RewardEngine, kind: str) -> list[Verdict]:
    """Of three steps, one after the other."""

    async def run() -> list[Verdict]:
        verifier = step_verifier_kind(kind).build(engine, PATH)
        async with await verifier.open(Question(text="How many?")) as shadow:
            return [(await verifier.judge([shadow], [step]))[0] for step in STEPS]

    return asyncio.run(run())


def test_a_scale_of_its_own_is_the_verifiers_to_refuse() -> None:
    with rewarding(contract="steps") as server:
        engine = reward_engine(server)
        server.fault = "range"
        verdicts = walked(engine, "qwen_process_reward")
    assert all("says 1.5; a step's reward is in [0, 1]" in (v.failure or "") for v in verdicts)


def test_a_separator_that_is_missing_is_guessed_at() -> None:
    with rewarding(contract="steps") as server:
        (verdict, *_) = walked(reward_engine(server), "process_reward")
    assert "told 0 scores for 1" in (verdict.failure or "")
    assert "'qwen_process_reward'" in (verdict.failure or "")


@pytest.mark.parametrize("fault", ["500", "429"])
def test_passing_failures_are_tried_again(server: RewardServer, fault: str) -> None:
    engine = reward_engine(server)
    server.fault, server.failing = fault, 1
    assert read_all(engine, [STEPS] * 5) == [0.9] * 5
    assert len(server.asked) == 2


def test_after_a_lasting_failure_each_is_tried_once_until_one_goes_well(
    server: RewardServer,
) -> None:
    engine = reward_engine(server, attempts=2)
    server.fault, server.failing = "500", 3
    for wanted in (2, 3, 4):
        (said,) = read_all(engine, [STEPS])
        assert isinstance(said, ModelError) == (wanted < 4)
        assert len(server.asked) == wanted
    server.failing = 1
    assert read_all(engine, [STEPS]) == [0.9]


def test_one_that_is_too_long_fails_alone(server: RewardServer) -> None:
    engine = reward_engine(server)
    found = read_all(engine, [STEPS, ("much too long",), STEPS])
    assert found[::2] == [0.9, 0.9]
    assert isinstance(found[1], ContextOverflow)
    outcome = verifier_kind("outcome_reward").build(engine, PATH)

    async def run() -> None:
        good, bad = await outcome.judge(Question(text="?"), attempts("1", "too long"))
        assert good.score == pytest.approx(0.16)
        assert "maximum context length" in (bad.failure or "")

    asyncio.run(run())


def test_nobody_waits_for_a_request_that_was_left(server: RewardServer) -> None:
    engine = reward_engine(server)
    server.fault = "hang"

    async def run() -> None:
        branches = [await engine.open(TURNS, path=PATH.child(i)) for i in range(3)]
        for branch in branches:
            await branch.append("a step")
        reads = [asyncio.ensure_future(branch.read("reward")) for branch in branches]
        await asyncio.sleep(0.1)
        for task in reads[:2]:
            task.cancel()
        await asyncio.sleep(0.05)
        assert server.dropped == 0
        reads[2].cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert server.dropped == 1
        closing = asyncio.ensure_future(branches[0].read("reward"))
        await asyncio.sleep(0.05)
        await engine.close()
        with pytest.raises(ModelError, match="closed"):
            await closing
        for branch in branches:
            branch.close()

    asyncio.run(run())


def test_reads_are_recorded_and_served_again(server: RewardServer, tmp_path: Path) -> None:
    async def judge(engine: Any) -> list[Verdict]:
        verifier = step_verifier_kind("process_reward").build(engine, PATH)
        async with await verifier.open(Question(text="How many?")) as shadow:
            found = [(await verifier.judge([shadow], [step]))[0] for step in STEPS]
        await engine.close()
        return found

    file = tmp_path / "calls"
    first = asyncio.run(judge(RecordingEngine(reward_engine(server), file)))
    again = asyncio.run(judge(ReplayEngine(file)))
    assert [v.score for v in first] == pytest.approx([0.22, 0.52, 0.9])
    assert again == first


def test_raw_text_is_a_prompt_too(server: RewardServer) -> None:
    engine = reward_engine(server)

    async def run() -> None:
        async with await engine.open("Q: how many?", path=PATH) as branch:
            await branch.append("x" * 30)
            assert await branch.read("reward") == [(0.3,)]

    asyncio.run(run())
    assert server.asked[-1]["inputs"] == [{"prompt": "Q: how many?", "steps": ["x" * 30]}]


def test_a_free_port_is_no_endpoint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(ModelError, match="is it up"):
        open_engine("reward:prm", base_url=f"http://127.0.0.1:{port}/v1")


def test_the_page_on_rewards_shows_what_is_sent(server: RewardServer) -> None:
    """The request in docs/rewards.md is one that the engine makes, and its reply is understood."""
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    request, reply = (json.loads(b.split("```")[0]) for b in page.split("```json\n")[1:3])
    assert set(request) == {"model", "inputs"}
    assert [set(one) for one in request["inputs"]] == [{"messages", "steps"}] * 2
    assert [len(one["steps"]) for one in request["inputs"]] == list(map(len, reply["scores"]))
    engine = reward_engine(server)
    read_all(engine, [STEPS])
    assert set(server.asked[0]) == set(request)
    assert set(server.asked[0]["inputs"][0]) == set(request["inputs"][0])
