"""The server as the official client sees it, and curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Generator
from typing import Any

import openai
import pytest
from served import Served, served

from ponder.runtime import ScriptedEngine

QUESTION = "Ann has 17 apples and buys 25 more. How many apples does she have?"
USER: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def server() -> Generator[Served]:
    with served(ScriptedEngine()) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def test_lists_strategies_and_engines(client: openai.OpenAI) -> None:
    names = {model.id: model.owned_by for model in client.models.list()}
    assert names["self_consistency"] == "ponder-strategy"
    assert names["scripted"] == "ponder-engine"
    assert client.models.retrieve("four").id == "four"


def test_a_strategy_answers_like_a_model(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="self_consistency", messages=USER, seed=1)
    assert "\\boxed{42}" in (reply.choices[0].message.content or "")
    assert reply.choices[0].finish_reason == "stop"


def test_equal_seeds_give_equal_replies_and_others_differ(client: openai.OpenAI) -> None:
    def said(seed: int) -> list[str | None]:
        made = client.chat.completions.create(model="scripted", messages=USER, n=8, seed=seed)
        return [choice.message.content for choice in made.choices]

    assert said(3) == said(3)
    assert said(3) != said(4)
    assert len(set(said(3))) > 1, "eight choices are eight draws"


def test_usage_counts_every_token_of_every_choice(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="self_consistency", messages=USER, seed=1, n=2, max_tokens=50
    )
    assert reply.usage is not None
    told: Any = reply.model_extra
    per_choice = told["ponder"]["choices"]
    assert reply.usage.total_tokens == sum(choice["tokens"] for choice in per_choice)
    assert reply.usage.completion_tokens == sum(choice["decoded"] for choice in per_choice)
    assert [choice["calls"] for choice in per_choice] == [16, 16]


@pytest.mark.parametrize("model", ["scripted", "four"])
def test_a_stream_joins_to_the_whole_reply(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=USER, seed=5, n=3)
    stream = client.chat.completions.create(
        model=model,
        messages=USER,
        seed=5,
        n=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, ends, usage = [""] * 3, [""] * 3, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage


def test_a_model_streams_while_it_draws(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="scripted", messages=USER, seed=5, stream=True)
    assert len([chunk for chunk in stream if chunk.choices]) > 10


def test_stop_strings_end_the_text_and_stay_out_of_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="scripted", messages=USER, seed=5)
    text = whole.choices[0].message.content or ""
    for stop in (text[6:9], text[3:], text[:1]):
        cut = client.chat.completions.create(model="scripted", messages=USER, seed=5, stop=[stop])
        assert cut.choices[0].message.content == text[: text.index(stop)]
        stream = client.chat.completions.create(
            model="scripted", messages=USER, seed=5, stop=[stop], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces) == text[: text.index(stop)]


def test_a_cut_reply_says_length(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="scripted", messages=USER, seed=5, max_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert len(reply.choices[0].message.content or "") == 3


def test_log_probabilities_are_the_drawn_tokens(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="scripted", messages=USER, seed=5, logprobs=True)
    scores = reply.choices[0].logprobs
    assert scores is not None
    assert scores.content is not None
    assert "".join(score.token for score in scores.content) == reply.choices[0].message.content
    assert min(score.logprob for score in scores.content) < 0


def test_turns_reach_the_engine_as_they_were(client: openai.OpenAI) -> None:
    turns: Any = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is 1 + "}, {"type": "text", "text": "1?"}],
        },
        {"role": "assistant", "content": "2"},
        *USER,
    ]
    alone = client.chat.completions.create(model="scripted", messages=USER, seed=5)
    long = client.chat.completions.create(model="scripted", messages=turns, seed=5)
    thought = client.chat.completions.create(
        model="four", messages=turns, seed=5, extra_body={"ponder": {"instruction": ""}}
    )
    assert alone.usage
    assert long.usage
    assert thought.usage
    assert long.usage.prompt_tokens > alone.usage.prompt_tokens + len("Be brief.What is 1 + 1?2")
    assert thought.usage.prompt_tokens == long.usage.prompt_tokens


def test_a_request_brings_its_own_strategy_and_budget(client: openai.OpenAI) -> None:
    body = {
        "ponder": {
            "strategy": {"pipe": [{"sample": {"n": 3}}, {"vote": {}}]},
            "budget": {"tokens": 160, "calls": 3},
        }
    }
    reply = client.chat.completions.create(model="scripted", messages=USER, seed=1, extra_body=body)
    told: Any = reply.model_extra
    assert told["ponder"]["choices"][0]["status"] == "exhausted"
    assert reply.usage
    assert reply.usage.total_tokens <= 160


def test_completions_continue_a_text(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="scripted", prompt=QUESTION, seed=2, n=2, logprobs=1)
    assert len(reply.choices) == 2
    for choice in reply.choices:
        assert choice.logprobs
        assert "".join(choice.logprobs.tokens or []) == choice.text


async def _several(server: Served) -> list[str | None]:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        made = await client.chat.completions.create(model="four", messages=USER, seed=7)
        pieces: list[str] = []
        stream: Any = await client.chat.completions.create(
            model="four", messages=USER, seed=7, stream=True
        )
        async for chunk in stream:
            pieces += [choice.delta.content or "" for choice in chunk.choices]
        return [made.choices[0].message.content, "".join(pieces)]


def test_the_async_client_is_served_too(server: Served) -> None:
    import asyncio

    whole, streamed = asyncio.run(_several(server))
    assert whole == streamed
    assert whole


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sees_progress_as_comments(server: Served) -> None:
    body = json.dumps({"model": "four", "messages": USER, "seed": 1, "stream": True})
    done = subprocess.run(
        ["curl", "-sN", f"{server.url}/chat/completions", "-d", body],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith(": progress {") for line in lines)
    assert lines[-2] == "data: [DONE]"
