"""Tokens over the wire: told, taken as prompts, and scored; settings of vLLM's server; seeds."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Generator
from contextlib import closing
from typing import Any

import openai
import pytest
import tiny_models
from served import Served, served

from ponder.orchestrator import ServerSettings
from ponder.runtime import BranchPath, Engine, Message, ScriptedEngine, load_model, open_engine
from ponder.runtime.engine.engine import LocalEngine

TEXT = "hello hello 12 héllo wörld"
USER: Any = [{"role": "user", "content": TEXT}]
BEGUN: Any = [*USER, {"role": "assistant", "content": " 12"}]
GO_ON: Any = {"continue_final_message": True, "add_generation_prompt": False}


@pytest.fixture(scope="module", params=["own", "scripted"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "scripted":
        return ScriptedEngine(context_length=512)
    file = tiny_models.write(tmp_path_factory.mktemp("model") / "m.gguf")
    return LocalEngine(load_model(str(file)), pages=500, threads=1)


@pytest.fixture(scope="module")
def server(engine: Engine) -> Generator[Served]:
    with served(engine, ServerSettings(most_bytes=20_000_000)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def post(server: Served, route: str, body: object, method: str = "POST") -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=30)) as connection:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, route, raw)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def tokens(server: Served, **body: Any) -> list[int]:
    status, told = post(server, "/tokenize", {"model": "scripted", **body})
    assert status == 200, told
    assert told["count"] == len(told["tokens"])
    found: list[int] = told["tokens"]
    return found


def test_tokens_are_those_a_branch_starts_with(server: Served, engine: Engine) -> None:
    turns = [Message(role="user", content=TEXT)]
    assert tokens(server, messages=USER) == list(engine.encode(turns))
    assert tokens(server, prompt=TEXT) == list(engine.encode(TEXT))
    begun = tokens(server, messages=BEGUN, **GO_ON)
    bare = tokens(server, prompt=" 12", add_special_tokens=False)
    assert begun == [*engine.encode(turns), *bare]
    assert tokens(server, prompt="", add_special_tokens=False) == []


def test_what_tokens_spell_and_how_many_fit_is_told(server: Served, engine: Engine) -> None:
    asked = {"model": "scripted", "prompt": TEXT, "return_token_strs": True}
    _, told = post(server, "/tokenize", asked)
    assert "".join(told["token_strs"]) == TEXT
    assert told["max_model_len"] == engine.capabilities.context_length
    _, model = post(server, "/v1/models/scripted", b"", "GET")
    assert model["max_model_len"] == told["max_model_len"]
    assert post(server, "/version", b"", "GET")[1]["version"]


def test_a_chat_as_tokens_is_the_chat(client: openai.OpenAI, server: Served) -> None:
    chat = client.chat.completions.create(
        model="scripted", messages=USER, max_tokens=9, temperature=0
    )
    given = tokens(server, messages=USER)
    for prompt in (given, [given]):
        raw = client.completions.create(
            model="scripted", prompt=prompt, max_tokens=9, temperature=0
        )
        assert raw.choices[0].text == chat.choices[0].message.content
        assert raw.usage is not None
        assert chat.usage is not None
        assert raw.usage.prompt_tokens == chat.usage.prompt_tokens == len(given)


def test_scores_of_tokens_are_the_engines_own(
    client: openai.OpenAI, server: Served, engine: Engine
) -> None:
    """Behind control tokens too, which no text has."""
    said = "2 + 3 = 5. The"

    async def scored() -> list[float]:
        turns = [Message(role="user", content="2 and 3")]
        async with await engine.open(turns, path=BranchPath(0)) as branch:
            return list((await branch.score([said]))[0].logprobs)

    prompt = tokens(server, messages=[{"role": "user", "content": "2 and 3"}])
    reply = tokens(server, prompt=said, add_special_tokens=False)
    echo = client.completions.create(
        model="scripted", prompt=prompt + reply, max_tokens=0, echo=True, logprobs=1
    )
    scores = echo.choices[0].logprobs
    assert scores is not None
    values = scores.token_logprobs or []
    assert len(values) == len(prompt + reply)
    assert values[:1] == [None]
    assert values[len(prompt) :] == pytest.approx(asyncio.run(scored()), abs=1e-3)
    assert echo.usage is not None
    assert echo.usage.prompt_tokens == len(prompt + reply), "each is read once"
    assert echo.usage.completion_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["scripted", "four"])
def test_choice_i_of_a_seed_is_what_seed_plus_i_gives(
    client: openai.OpenAI, engine: Engine, model: str, stream: bool
) -> None:
    if model == "four" and not isinstance(engine, ScriptedEngine):
        pytest.skip("a random model answers no question")

    def said(seed: int, n: int) -> list[str]:
        texts = [""] * n
        asked: Any = {"model": model, "messages": USER, "max_tokens": 40, "seed": seed, "n": n}
        if stream:
            for piece in client.chat.completions.create(**asked, stream=True):
                for choice in piece.choices:
                    texts[choice.index] += choice.delta.content or ""
            return texts
        made = client.chat.completions.create(**asked)
        return [choice.message.content or "" for choice in made.choices]

    together = said(-2, 6)
    assert together == [said(seed, 1)[0] for seed in range(-2, 4)]
    assert len(set(together)) > 1


@pytest.mark.parametrize("setting", [{"top_k": 1}, {"min_p": 0.999999}])
def test_settings_of_other_servers_are_obeyed(
    client: openai.OpenAI, setting: dict[str, float]
) -> None:
    def said(seed: int, extra: dict[str, float], **more: Any) -> str:
        made = client.chat.completions.create(
            model="scripted", messages=USER, max_tokens=8, seed=seed, extra_body=extra, **more
        )
        return made.choices[0].message.content or ""

    greedy = said(0, {}, temperature=0)
    assert {said(seed, setting, temperature=1.5) for seed in range(5)} == {greedy}
    assert len({said(seed, {"top_k": -1}, temperature=1.5) for seed in range(9)}) > 1


def test_a_strategy_takes_settings_that_a_step_has(client: openai.OpenAI, engine: Engine) -> None:
    if not isinstance(engine, ScriptedEngine):
        pytest.skip("a random model answers no question")
    asked: Any = {"model": "four", "messages": [{"role": "user", "content": "1 and 2"}], "seed": 1}
    made = client.chat.completions.create(**asked, extra_body={"top_k": 1})
    assert "3" in (made.choices[0].message.content or "")
    beam = {"beam": {"verifier": "self_evaluation", "width": 2, "expand": 2}}
    strategy = {"pipe": [beam, {"best": {}}]}
    with pytest.raises(openai.BadRequestError, match="no step of 'four' has a setting top_k"):
        client.chat.completions.create(
            **asked, extra_body={"top_k": 1, "ponder": {"strategy": strategy}}
        )


ASK: Any = {"model": "scripted", "prompt": "x"}
BAD: dict[str, tuple[str, object, int, str | None, str]] = {
    "no JSON": ("/tokenize", b"{", 400, None, "JSON"),
    "a list": ("/tokenize", [], 400, None, ""),
    "no model": ("/tokenize", {"prompt": "x"}, 400, "model", "model is missing"),
    "unknown model": ("/tokenize", {**ASK, "model": "scriptd"}, 404, "model", "did you mean"),
    "a strategy": ("/tokenize", {**ASK, "model": "four"}, 400, "model", "is a strategy"),
    "nothing": ("/tokenize", {"model": "scripted"}, 400, "prompt", "prompt is missing"),
    "both": ("/tokenize", {**ASK, "messages": USER}, 400, "prompt", "unknown setting 'prompt'"),
    "a number": ("/tokenize", {**ASK, "prompt": 3}, 400, "prompt", "prompt is 3; it should be"),
    "tokens of tokens": ("/tokenize", {**ASK, "prompt": [1]}, 400, "prompt", "valid string"),
    "unknown field": ("/tokenize", {**ASK, "add_bos": 1}, 400, "add_bos", "unknown setting"),
    "special tokens in a chat": (
        "/tokenize",
        {"model": "scripted", "messages": USER, "add_special_tokens": True},
        400,
        "add_special_tokens",
        "those that its template writes",
    ),
    "no generation": (
        "/tokenize",
        {"model": "scripted", "messages": USER, "add_generation_prompt": False},
        400,
        "messages",
        "continue_final_message",
    ),
    "half a letter": ("/tokenize", b'{"model": "scripted", "prompt": "\\ud800"}', 400, None, ""),
    "empty": ("/v1/completions", {**ASK, "prompt": []}, 400, "prompt", "at least one token"),
    "empty inside": ("/v1/completions", {**ASK, "prompt": [[]]}, 400, "prompt", "at least one"),
    "several": ("/v1/completions", {**ASK, "prompt": [[1], [2]]}, 400, "prompt", "list of 2"),
    "beyond": (
        "/v1/completions",
        {**ASK, "prompt": [1, 9_999_999]},
        400,
        "prompt",
        "token 9999999 is none of the model's; its ids are 0 to ",
    ),
    "below 0": ("/v1/completions", {**ASK, "prompt": [-1]}, 400, "prompt.0", "is -1; it should"),
    "half": ("/v1/completions", {**ASK, "prompt": [1.5]}, 400, "prompt.0", "1.5"),
    "a bool": ("/v1/completions", {**ASK, "prompt": [True]}, 400, "prompt.0", "True"),
    "mixed": ("/v1/completions", {**ASK, "prompt": [1, "x"]}, 400, None, "prompt."),
    "tokens for a strategy": (
        "/v1/completions",
        {**ASK, "model": "four", "prompt": [1]},
        400,
        "prompt",
        "a strategy takes text",
    ),
    "top_k": ("/v1/completions", {**ASK, "top_k": -2}, 400, "top_k", "-1"),
    "top_k of text": ("/v1/completions", {**ASK, "top_k": "1"}, 400, "top_k", "integer"),
    "min_p": ("/v1/completions", {**ASK, "min_p": 1}, 400, "min_p", "less than 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_tokens_is_told(server: Served, name: str) -> None:
    route, body, status, field, words = BAD[name]
    got, reply = post(server, route, body)
    error = reply["error"]
    assert (got, error["type"]) == (status, "invalid_request_error"), error
    assert words in error["message"]
    assert field is None or error["param"] == field


@pytest.mark.parametrize("echo", [{}, {"echo": True, "logprobs": 0, "max_tokens": 0}])
def test_more_tokens_than_fit_are_refused(
    client: openai.OpenAI, engine: Engine, echo: dict[str, Any]
) -> None:
    many = [32] * ((engine.capabilities.context_length or 0) + 1)
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="scripted", prompt=many, **echo)
    assert refused.value.code == "context_length_exceeded"
    assert engine.stats().branches == 0


def test_a_key_is_asked_for() -> None:
    with served(ScriptedEngine(), ServerSettings(keys=("right",))) as server:
        assert post(server, "/tokenize", ASK)[0] == 401


def test_an_engine_behind_an_endpoint_tells_no_tokens(
    server: Served, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path_factory.mktemp("cache")))
    engine = open_engine("openai:scripted", base_url=server.url, api_key="none", probe=True)
    with served(engine) as outer:
        for route, body in (("/tokenize", ASK), ("/v1/completions", {**ASK, "prompt": [1]})):
            status, reply = post(outer, route, body)
            assert (status, reply["error"]["code"]) == (400, "unsupported")
            assert "behind an endpoint" in reply["error"]["message"]
        again = open_engine("openai:scripted", base_url=outer.url, api_key="none", probe=True)
        can = again.capabilities
        assert (can.seed, can.top_k, can.min_p) == (True, True, True)
        assert not can.prompt_logprobs
