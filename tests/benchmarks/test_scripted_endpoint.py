"""The endpoint that orchestration is measured at: what it says, counts and does wrong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from statistics import median
from typing import Any

import pytest

from benchmarks.overhead.endpoint import Script, listening
from benchmarks.overhead.script import (
    JUDGE,
    MALFORMED,
    RANKING,
    RATING,
    Fault,
    Settings,
    delay,
    fault,
    problem,
    question,
    said,
    solution,
    tokens,
    written,
)

Json = dict[str, Any]  # Any: JSON
Post = Callable[[Json], Coroutine[object, object, bytes]]


def turns(text: str) -> list[Json]:
    return [{"role": "user", "content": text}]


def body(number: int, model: str = "shared", **fields: Any) -> Json:  # Any: JSON
    return {"model": model, "messages": turns(question(number)), "seed": number, **fields}


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, given: Json, path: str = "/v1/chat/completions") -> bytes:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        raw = json.dumps(given).encode()
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
        self.writer.write(head + raw)
        told = await self.reader.readuntil(b"\r\n\r\n")
        length = int(told.lower().partition(b"content-length:")[2].split()[0])
        return told + await self.reader.readexactly(length)

    async def chat(self, given: Json) -> Json:
        reply: Json = json.loads((await self.post(given)).partition(b"\r\n\r\n")[2])
        return reply

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def run(
    script: Script, work: Callable[[Callable[[], Client]], Coroutine[object, object, None]]
) -> None:
    async def main() -> None:
        servers = await listening(script)
        port, clients = servers[0].sockets[0].getsockname()[1], list[Client]()

        def client() -> Client:
            clients.append(Client(port))
            return clients[-1]

        await work(client)
        for each in clients:
            each.close()
        for server in servers:
            server.close()
        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_faults_have_their_shares_and_follow_from_the_seed() -> None:
    settings = Settings(errors=0.05, hangs=0.01, malformed=0.02, seed=1)
    drawn = [fault(settings, i) for i in range(20_000)]
    assert drawn == [fault(settings, i) for i in range(20_000)]
    assert drawn != [
        fault(Settings(errors=0.05, hangs=0.01, malformed=0.02), i) for i in range(20_000)
    ]
    kinds = Counter(drawn)
    assert kinds[Fault.ERROR] / 20_000 == pytest.approx(0.05, abs=0.006)
    assert kinds[Fault.HANG] / 20_000 == pytest.approx(0.01, abs=0.003)
    assert sum(kinds[kind] for kind in MALFORMED) / 20_000 == pytest.approx(0.02, abs=0.004)
    assert kinds[Fault.TALK] == 0
    assert Fault.TALK in {fault(settings, i, judging=True) for i in range(20_000)}
    assert all(fault(Settings(), i) is None for i in range(100))


def test_delays_are_fixed_or_log_normal() -> None:
    assert {delay(Settings(delay=0.05), i) for i in range(9)} == {0.05}
    drawn = [delay(Settings(delay=0.05, sigma=1.0, seed=2), i) for i in range(5000)]
    assert median(drawn) == pytest.approx(0.05, rel=0.06)
    assert sorted(drawn)[int(0.8413 * 5000)] == pytest.approx(0.05 * 2.718, rel=0.1)


def test_samples_are_right_in_seven_of_ten_and_judges_are_answered_in_their_form() -> None:
    asked = turns(question(3))
    replies = [said(asked, written(asked), seed, 1.0) for seed in range(2000)]
    right = f"boxed{{{solution(3)}}}"
    assert sum(right in reply for reply in replies) / 2000 == pytest.approx(0.7, abs=0.04)
    good = next(reply for reply in replies if right in reply)
    bad = next(reply for reply in replies if right not in reply)
    conversation = "{0}:\n\nuser: {1}\nassistant: {2}"
    for reply, score in ((good, 9), (bad, 2)):
        judged = turns(conversation.format(JUDGE, question(3), reply))
        assert json.loads(said(judged, written(judged), None, 0.0))["score"] == score
        rated = [*asked, {"role": "assistant", "content": reply}, *turns(RATING)]
        assert said(rated, written(rated), None, 0.1) == str(score)
    listed = f"Rank: {question(3)}\n\n[1] {bad}\n[2] {good}\n\nInstruction: e.g., [4] > [2]."
    ranked = [{"role": "system", "content": RANKING}, *turns(listed)]
    assert said(ranked, written(ranked), None, 0.0) == "[2] > [1]"


def test_seeds_are_a_ladder_and_without_one_replies_differ() -> None:
    async def work(client: Callable[[], Client]) -> None:
        one = client()
        several = await one.chat(body(1, n=3))
        alone = [await one.chat(body(1) | {"seed": 1 + i}) for i in range(3)]
        texts = [choice["message"]["content"] for choice in several["choices"]]
        assert texts == [reply["choices"][0]["message"]["content"] for reply in alone]
        assert len((await one.chat(body(1, "single", n=3)))["choices"]) == 1
        unseeded = {"model": "shared", "messages": turns(question(1)), "n": 64}
        drawn = [(await one.chat(unseeded))["choices"] for _ in range(2)]
        assert drawn[0] != drawn[1]

    run(Script(), work)


def test_what_is_counted() -> None:
    script = Script()

    async def work(client: Callable[[], Client]) -> None:
        control, two = client(), [client(), client()]
        settings = {"delay": 0.02}
        await control.post(settings, "/control")
        await asyncio.gather(*(one.chat(body(7, n=4)) for one in two))
        await two[0].chat(body(8))
        counts = script.counts.told()
        prompts = [tokens(written(turns(question(i)))) for i in (7, 7, 8)]
        assert (counts["requests"], counts["choices"], counts["connections"]) == (3, 9, 2)
        assert (counts["most_in_flight"], counts["in_flight"]) == (2, 0)
        assert 1 < counts["mean_in_flight"] < 2
        assert counts["prompt_tokens"] == sum(prompts)
        assert counts["repeated_tokens"] == prompts[0]
        assert counts["told_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
        assert counts["problems"] == {7: [8, 0, 0], 8: [1, 0, 0]}
        told = json.loads((await control.post({}, "/control")).partition(b"\r\n\r\n")[2])
        assert told["log"] == counts["log"]
        assert script.counts.requests == 0

    run(script, work)


def test_the_log_knows_bodies_and_not_their_order() -> None:
    def log(numbers: list[int]) -> str:
        script = Script()

        async def work(client: Callable[[], Client]) -> None:
            one = client()
            for number in numbers:
                await one.chat(body(number))

        run(script, work)
        return str(script.counts.told()["log"])

    assert log([1, 2, 2]) == log([2, 1, 2]) != log([1, 2, 1])


@pytest.mark.parametrize("kind", [Fault.ERROR, *MALFORMED])
def test_faults_on_the_wire(kind: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.overhead.endpoint.fault", lambda *_, **__: kind)
    script = Script()

    async def work(client: Callable[[], Client]) -> None:
        head, _, raw = (await client().post(body(1))).partition(b"\r\n\r\n")
        assert (b" 500 " in head) == (kind is Fault.ERROR)
        if kind in (Fault.CUT, Fault.PAGE):
            with pytest.raises(ValueError, match="line 1"):
                json.loads(raw)
        else:
            choices = json.loads(raw).get("choices", [])
            contents = [choice["message"]["content"] for choice in choices]
            assert (contents == [None]) == (kind is Fault.NULL)
            assert bool(choices) == (kind in (Fault.NULL, Fault.TALK))
            assert not any("boxed" in content for content in contents if content)

    run(script, work)
    assert script.counts.told()["problems"] == {1: [0, 1, 0]}
    assert (script.counts.choices, dict(script.counts.faults)) == (0, {kind.value: 1})


def test_a_hang_lasts_until_its_client_leaves() -> None:
    script = Script()
    script.settings = Settings(hangs=1.0)

    async def work(client: Callable[[], Client]) -> None:
        one = client()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.post(body(1)), 0.05)
        assert script.counts.in_flight == 1
        one.close()

    run(script, work)
    counts = script.counts.told()
    assert (counts["in_flight"], counts["left"], counts["faults"]) == (0, 1, {"hang": 1})
    assert problem(question(12)) == 12
