"""Log-probabilities over the wire: of replies, of prompts, and of what might have been said."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest
import tiny_models
from served import Served, served
from tiny_llama import tiny

from ponder.runtime import BranchPath, Engine, ScriptedEngine, load_model, open_engine
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.remote.abilities import Prefix

PATH = BranchPath(1)
TEXT = "hello hello 12 héllo wörld"


def whole() -> LocalEngine:
    return LocalEngine(tiny(), pages=500, threads=1)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    """A model with merged tokens and a chat template."""
    file = tiny_models.write(tmp_path_factory.mktemp("model") / "m.gguf")
    return LocalEngine(load_model(str(file)), pages=500, threads=1)


@pytest.fixture(scope="module")
def server(tokens: LocalEngine) -> Generator[Served]:
    with served(tokens) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def one(client: openai.OpenAI, **more: Any) -> Any:
    return client.completions.create(model="scripted", **{"prompt": TEXT, **more}).choices[0]


async def given(engine: Engine, text: str) -> list[float]:
    """Each token's log-probability by the logits before it."""
    async with await engine.open(text, path=PATH) as branch:
        rows = await branch.span_logits(0, len(branch.tokens) - 1)
        pairs = zip(rows, branch.tokens[1:], strict=True)
        return [r[t] - math.log(math.fsum(map(math.exp, r))) for r, t in pairs]


@pytest.mark.parametrize("limit", [0, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_tells_what_the_prompt_was_worth(
    client: openai.OpenAI, tokens: LocalEngine, limit: int, stream: bool
) -> None:
    expected = asyncio.run(given(tokens, TEXT))
    asked: Any = {"echo": True, "logprobs": 1, "max_tokens": limit, "seed": 4, "prompt": TEXT}
    if stream:
        chunks = [
            c.choices[0]
            for c in client.completions.create(model="scripted", stream=True, **asked)
            if c.choices
        ]
        text, scores = "".join(c.text for c in chunks), chunks[-1].logprobs
    else:
        choice = one(client, **asked)
        text, scores = choice.text, choice.logprobs
        assert choice.finish_reason == "length"
    plain = one(client, max_tokens=3, seed=4)
    assert text == (TEXT + plain.text if limit else TEXT), "the draws are the same"
    count = len(expected) + 1
    assert len(scores.tokens) == count + limit
    assert scores.token_logprobs[0] is None
    assert scores.token_logprobs[1:count] == pytest.approx(expected, abs=1e-4)
    for token, offset in zip(scores.tokens, scores.text_offset, strict=True):
        assert text[offset : offset + len(token)] == token or "\ufffd" in token


def test_a_prompt_that_reads_otherwise_in_parts_is_scored_as_it_stands() -> None:
    """Where the text behind the first token falls into other tokens when it is read alone."""
    engine = whole()

    class Odd(type(engine.tokenizer)):  # type: ignore[misc]
        def encode(self, text: str) -> list[int]:
            return list(text.encode()) if text.startswith("x") else [97, *text.encode()]

    engine.tokenizer = Odd()
    expected = asyncio.run(given(engine, "xyz"))
    with served(engine) as running, openai.OpenAI(base_url=running.url, api_key="x") as client:
        choice = one(client, prompt="xyz", echo=True, logprobs=0, max_tokens=0)
    assert choice.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
    asyncio.run(engine.close())


def test_the_likeliest_tokens_are_the_models_own(client: openai.OpenAI) -> None:
    user: Any = [{"role": "user", "content": "hello"}]
    reply = client.chat.completions.create(
        model="scripted", messages=user, logprobs=True, top_logprobs=3, temperature=1.7,
        max_tokens=20, seed=2,
    )  # fmt: skip
    scores: Any = reply.choices[0].logprobs
    assert len(scores.content) == reply.usage.completion_tokens  # type: ignore[union-attr]
    for score in scores.content:
        values = [other.logprob for other in score.top_logprobs]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        for other in score.top_logprobs:
            if other.token == score.token and "\ufffd" not in other.token and other.token:
                assert other.logprob == pytest.approx(score.logprob, abs=1e-4)
        assert score.logprob <= values[0] + 1e-4
    said, at = reply.choices[0].message.content or "", 0
    # A character of several tokens shows broken in each of them, and whole in the reply.
    for piece in filter(None, "".join(score.token for score in scores.content).split("\ufffd")):
        assert said.find(piece, at) >= at
        at = said.find(piece, at) + len(piece)


def test_our_own_client_scores_through_our_own_server(
    server: Served, tokens: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    engine: Any = open_engine("openai:scripted", base_url=server.url, api_key="none")
    abilities = engine.manner.abilities
    assert abilities.completions
    assert abilities.scores
    assert abilities.logprobs

    async def scored(which: Engine) -> list[float]:
        async with await which.open("hello hello", path=PATH) as branch:
            return [s.total for s in await branch.score([" world", " 12"])]

    assert asyncio.run(scored(engine)) == pytest.approx(asyncio.run(scored(tokens)), abs=1e-3)


def test_our_own_client_finds_what_our_server_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    with served(ScriptedEngine()) as running:
        engine: Any = open_engine("openai:scripted", base_url=running.url, api_key="none")
    found = engine.manner.abilities
    assert (found.prefix, found.stop_told) == (Prefix.CONTINUE, True)
    assert found.completions
    assert found.logprobs
    assert found.seed
    assert found.stream
    assert found.usage


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"logprobs": 1}, "tells no log-probabilities of single tokens; leave logprobs out"),
        ({"logprobs": 1, "echo": True}, "log-probabilities of single tokens"),
    ],
)
def test_an_endpoint_behind_tells_no_tokens(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, words: str
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    engine = open_engine("openai:scripted", base_url=server.url, api_key="none")
    with (
        served(engine) as outer,
        openai.OpenAI(base_url=outer.url, api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            one(client, **body)
        assert one(client, echo=True, max_tokens=2).text.startswith(TEXT)


def test_nothing_impossible_breaks_the_json() -> None:
    """A script gives what it never says no chance at all."""
    with (
        served(ScriptedEngine()) as running,
        openai.OpenAI(base_url=running.url, api_key="x") as client,
    ):
        choice = one(client, prompt="1 and 2", echo=True, logprobs=1, max_tokens=0)
        assert min(v for v in choice.logprobs.token_logprobs if v is not None) == -9999.0
        assert one(client, prompt="1", echo=True, logprobs=1, max_tokens=0).logprobs.tokens == ["1"]


def test_scoring_leaves_nothing_open(tokens: LocalEngine) -> None:
    assert tokens.stats().branches == 0
    assert tokens.stats().pages_held == tokens.stats().pages_cached
