"""Endpoints that are down, slow, broken or lie: clear errors, nothing lost, no hang."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import Manner, Server, serving

from ponder.runtime import (
    Branch,
    BranchPath,
    ContextOverflow,
    Finish,
    InputError,
    Message,
    ModelError,
    Sampling,
    Segment,
)
from ponder.runtime.remote import calls, connect
from ponder.runtime.remote.cache import forget, remember
from ponder.runtime.remote.endpoint import endpoint
from ponder.runtime.remote.engine import RemoteEngine
from ponder.runtime.remote.faults import EndpointError, retry_after

PATH = BranchPath(3, ("faults",))
TURNS = (Message(role="user", content="What is 2 and 3?"),)
ALL = Sampling(max_tokens=100)
FAULTS = {
    fault.replace(" ", "-"): Manner(fault=fault)
    for fault in (
        "slow", "flaky", "429", "429 after", "html", "hangs up", "hangs up once", "empty", "null",
        "tools", "malformed", "overflow", "drop", "drop once", "trickle",
    )
}  # fmt: skip
MODELS = {
    "good": Manner(),
    "odd-finish": Manner(finish="bored"),
    "filtered": Manner(finish="content_filter"),
    "two": Manner(choices=2),
    "one": Manner(choices=1),
    "silent": Manner(usage=False, logprobs=False),
    "mute-stop": Manner(stop=False),
    **FAULTS,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(MODELS, key="sk-secret") as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.01)
    forget()


def engine(server: Server, model: str, **changes: Any) -> RemoteEngine:
    """As if probing had found the honest model under this name: faults come later."""
    honest = connect.connect("good", base_url=server.url, api_key="sk-secret")
    where = endpoint(server.url, "sk-secret", timeout=changes.pop("timeout", 5.0))
    manner = MODELS[model]
    abilities = replace(
        honest.manner.abilities,
        logprobs=manner.logprobs,
        usage=manner.usage,
        stop_told=manner.stop,
        **changes,
    )
    server.requests.clear()
    server.tries.clear()
    return RemoteEngine(where, model, abilities)


def drawn(
    engine: RemoteEngine, work: Callable[[Branch], Coroutine[Any, Any, Any]]
) -> Any:  # whatever `work` gives
    async def run() -> Any:
        try:
            async with await engine.open(TURNS, path=PATH) as branch:
                return await asyncio.wait_for(work(branch), 20)
        finally:
            await engine.close()

    return asyncio.run(run())


async def once(branch: Branch) -> Segment:
    return await branch.extend(ALL)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("html", r"malformed reply.*It works!.*tried 6 times"),
        ("empty", "no choices"),
        ("null", "no content"),
        ("tools", r"called tool 'add' with '\{\"a\": 1', which is no JSON"),
        ("malformed", "malformed reply"),
        ("hangs-up", "connection failed or broke"),
        ("odd-finish", "unknown finish reason 'bored'; known: stop, length"),
        ("filtered", "withheld.*content_filter"),
    ],
)
def test_broken_replies_are_told(server: Server, model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        drawn(engine(server, model), once)


def test_what_is_too_long_is_told(server: Server) -> None:
    with pytest.raises(ContextOverflow, match="8 tokens"):
        drawn(engine(server, "overflow"), once)


@pytest.mark.parametrize("model", ["hangs-up-once", "429", "429-after", "drop-once"])
def test_what_passes_is_tried_again(server: Server, model: str) -> None:
    expected = drawn(engine(server, "good"), once)
    live = model == "drop-once"

    async def work(branch: Branch) -> Segment:
        return await branch.extend(ALL, deadline=time.monotonic() + 30 if live else None)

    got = drawn(engine(server, model), work)
    assert (got.text, got.finish, got.logprobs) == (
        expected.text, expected.finish, expected.logprobs
    )  # fmt: skip
    assert len({str(body) for body in server.requests}) == 1, "each try is the same request"
    assert len(server.requests) > 1
    assert got.usage.decoded == expected.usage.decoded + (live and 5)
    assert bool(got.usage.estimated) == live, "the broken try is charged by what came of it"


def test_one_in_twenty_failing_loses_nothing(server: Server) -> None:
    async def work(branch: Branch) -> list[Segment]:
        return await asyncio.gather(*(fork.extend(ALL) for fork in branch.fork(100)))

    whole = drawn(engine(server, "good"), work)
    flaky = drawn(engine(server, "flaky", choices=1), work)
    assert [s.text for s in flaky] == [s.text for s in whole]
    assert len(server.requests) > 100


def test_an_endpoint_that_is_down(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=r"127\.0\.0\.1.*is it up.*base URL"):
        connect.connect("good", base_url=url)


def test_a_model_that_is_absent(server: Server) -> None:
    with pytest.raises(InputError, match="unknown model 'goood'; did you mean 'good'"):
        connect.connect("goood", base_url=server.url, api_key="sk-secret")


def test_a_wrong_key_is_told_but_never_shown(server: Server) -> None:
    with pytest.raises(InputError, match=r"401.*PONDER_API_KEY") as caught:
        connect.connect("good", base_url=server.url, api_key="sk-wrong")
    assert "sk-wrong" not in str(caught.value)
    assert "sk-secret" not in repr(endpoint(server.url, "sk-secret", timeout=1))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://"])
def test_a_base_url_must_be_one(url: str) -> None:
    with pytest.raises(InputError, match="base URL"):
        connect.connect("good", base_url=url)


@pytest.mark.parametrize(("model", "most"), [("two", 2), ("one", 1)])
def test_fewer_choices_than_asked_are_found_out(server: Server, model: str, most: int) -> None:
    async def work(branch: Branch) -> list[Segment]:
        segments = await asyncio.gather(*(fork.extend(ALL) for fork in branch.fork(7)))
        asked = [body.get("n", 1) for body in server.requests]
        assert asked[0] == 7
        assert max(asked[1:]) <= most
        await asyncio.gather(*(fork.extend(ALL) for fork in branch.fork(7)))
        again = [body.get("n", 1) for body in server.requests][len(asked) :]
        assert max(again) == most, "it is remembered"
        return segments

    async def honest(branch: Branch) -> list[Segment]:
        return await asyncio.gather(*map(once, branch.fork(7)))

    expected = drawn(engine(server, "good"), honest)
    liar = engine(server, model)
    assert [s.text for s in drawn(liar, work)] == [s.text for s in expected]
    assert connect.connect(model, base_url=server.url).manner.abilities.choices == most


def test_a_deadline_keeps_what_came(server: Server) -> None:
    async def work(branch: Branch) -> tuple[Segment, str]:
        segment = await branch.extend(ALL, deadline=time.monotonic() + 0.3)
        return segment, branch.text

    segment, text = drawn(engine(server, "trickle"), work)
    assert segment.finish is Finish.BUDGET
    assert 1 <= len(segment.text) < 30
    assert text == segment.text
    assert segment.usage.decoded == len(segment.text)
    late, _ = drawn(engine(server, "slow"), work)
    assert (late.finish, late.text) == (Finish.BUDGET, "")
    assert late.usage.estimated == late.usage.prompt > 0


def test_silence_is_an_error(server: Server) -> None:
    slow = engine(server, "slow", timeout=0.2)
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 seconds \(tried 6 times\)"):
        drawn(slow, once)


def test_cancelling_closes_the_connection(server: Server) -> None:
    async def work(branch: Branch) -> str:
        job = asyncio.ensure_future(branch.extend(ALL, deadline=time.monotonic() + 30))
        await asyncio.sleep(0.3)
        before = server.dropped
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        async with asyncio.timeout(5):
            while server.dropped == before:
                await asyncio.sleep(0.01)
        return branch.text

    assert 1 <= len(drawn(engine(server, "trickle"), work)) < 30


def test_siblings_outlive_one_that_leaves(server: Server) -> None:
    async def work(branch: Branch) -> list[object]:
        forks = branch.fork(3)
        jobs = [asyncio.ensure_future(once(fork)) for fork in forks]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        jobs[1].cancel()
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, second, third = drawn(engine(server, "good"), work)
    assert isinstance(first, Segment)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, Segment)
    assert len(server.requests) == 1


def test_a_stream_that_drops_keeps_what_it_gave(server: Server) -> None:
    async def work(branch: Branch) -> str:
        given = ""

        async def read() -> None:
            nonlocal given
            async for delta in branch.stream(ALL):
                given += delta.text

        with pytest.raises(EndpointError) as caught:
            await read()
        assert caught.value.retryable
        assert branch.text == given
        assert branch.usage.decoded == len(given)
        return given

    assert len(drawn(engine(server, "drop"), work)) == 5
    assert len(server.requests) == 1, (
        "what was given cannot be taken back, so it is not tried again"
    )


def test_counts_that_are_not_told_are_estimated_and_say_so(server: Server) -> None:
    told = drawn(engine(server, "good"), once)
    silent = drawn(engine(server, "silent"), once)
    assert silent.text == told.text
    assert silent.logprobs == ()
    assert told.usage.estimated == 0
    assert silent.usage.estimated == silent.usage.tokens > 0


def test_stop_strings_are_ours_to_find_where_they_are_not_told(server: Server) -> None:
    stops = Sampling(max_tokens=100, stop=("zzz", "The"))

    async def work(branch: Branch) -> Segment:
        return await branch.extend(stops)

    told, cut = drawn(engine(server, "good"), work), drawn(engine(server, "mute-stop"), work)
    assert (cut.text, cut.finish) == (told.text, told.finish)
    assert cut.finish is Finish.STOP
    assert cut.text.endswith("The")
    assert "stop" not in server.requests[-1]
    ends = drawn(engine(server, "mute-stop"), once)
    assert ends.finish is Finish.EOS


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("2.5") == 2.5
    assert retry_after("Wed, 01 Jan 2020 00:00:00 GMT") == 0
    assert retry_after("soon") is retry_after(None) is None
    waits = [calls.wait(PATH, tries, None) for tries in (1, 2, 20)]
    assert 0.005 <= waits[0] <= 0.01
    assert waits[2] <= 30
    assert waits == [calls.wait(PATH, tries, None) for tries in (1, 2, 20)]
    assert calls.wait(PATH, 1, 7.0) >= 7


def test_a_cache_that_cannot_be_read_is_probed_anew(server: Server, tmp_path: Path) -> None:
    first = connect.connect("good", base_url=server.url, api_key="sk-secret")
    [kept] = (tmp_path / "endpoints").iterdir()
    assert "sk-secret" not in kept.read_text()
    probes = len(server.requests)
    forget()
    again = connect.connect("good", base_url=server.url, api_key="sk-secret")
    assert len(server.requests) == probes, "found in the file"
    for damage in ("", "{}", '{"saved": 0, "abilities": {}}'):
        kept.write_text(damage)
        forget()
        third = connect.connect("good", base_url=server.url, api_key="sk-secret")
        assert third.manner.abilities == again.manner.abilities == first.manner.abilities
    assert len(server.requests) > probes
    remember(first.endpoint, "good", first.manner.abilities)
