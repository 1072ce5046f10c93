"""Replies of a stated form, through the server: with the official client, and with our own engine
as the client, which finds out by itself what the server can do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Mapping
from typing import Any

import openai
import pytest
from served import Served, served

from ponder.orchestrator import sample, solve, vote
from ponder.runtime import BranchPath, Grammar, Sampling, ScriptedEngine, open_engine

NUMBER = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
REPLIES = {'{"n": 5}': 1.0, '{"n": 6}': 0.2, '{"m": true}': 3.0, "It is \\boxed{5}": 20.0}


def script(prompt: str) -> Mapping[str, float]:
    if "Count from one" in prompt:  # what a probe asks
        return {'{"zq": "wug"}': 1.0, "zq012x": 1.0, "One, two, three, four, five, six": 9.0}
    return REPLIES


@pytest.fixture(scope="module")
def server() -> Generator[Served]:
    with served(ScriptedEngine(script)) as server:
        yield server


def asked(server: Served, model: str = "scripted", **fields: Any) -> str:
    turns: Any = [{"role": "user", "content": "How many?"}]
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        reply = client.chat.completions.create(model=model, messages=turns, seed=4, **fields)
    return reply.choices[0].message.content or ""


@pytest.mark.parametrize("model", ["scripted", "four"])
def test_replies_fit_a_schema(server: Served, model: str) -> None:
    named = {"name": "number", "schema": NUMBER, "strict": True}
    said = asked(server, model, response_format={"type": "json_schema", "json_schema": named})
    assert json.loads(said)["n"] in (5, 6)
    said = asked(server, model, extra_body={"structured_outputs": {"json": NUMBER}})
    assert json.loads(said)["n"] in (5, 6)
    assert isinstance(
        json.loads(asked(server, model, response_format={"type": "json_object"})), dict
    )
    assert asked(server, model, response_format={"type": "text"})


def test_replies_fit_expressions_and_grammars(server: Served) -> None:
    assert asked(server, extra_body={"structured_outputs": {"regex": "I.*"}}) == "It is \\boxed{5}"
    grammar = 'start: "{" name ": 6}"\nname: "\\"n\\""'
    assert asked(server, extra_body={"structured_outputs": {"grammar": grammar}}) == '{"n": 6}'


def test_raw_text_too(server: Served) -> None:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        reply = client.completions.create(
            model="scripted",
            prompt="How many?",
            max_tokens=30,
            extra_body={"structured_outputs": {"regex": '[{]"n": 6.'}},
        )
    assert reply.choices[0].text == '{"n": 6}'


def test_the_remote_engine_finds_out_and_makes_use_of_it(
    server: Served, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    engine = open_engine("openai:scripted", base_url=server.url)
    assert engine.capabilities.grammars == {"regex", "json_schema", "lark"}
    assert not engine.capabilities.grammar_start
    result = solve("How many?", sample(8) | vote(), engine=engine, answer=NUMBER, seed=3)
    assert result.value["n"] in (5, 6)
    assert all(a.answer for a in result.candidates)

    async def drawn() -> str:
        branch = await engine.open("How many?", path=BranchPath(2))
        params = Sampling(max_tokens=30, grammar=Grammar(kind="regex", text="I.*"))
        return (await branch.extend(params)).text

    assert asyncio.run(drawn()) == "It is \\boxed{5}"
