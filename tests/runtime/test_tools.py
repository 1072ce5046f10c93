"""Tools on their way to a model and calls on their way back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import EOS, ByteTokenizer, tiny

from ponder.runtime import (
    BranchPath,
    CapabilityError,
    Chat,
    Finish,
    InputError,
    Message,
    Sampling,
    ScriptedEngine,
    Segment,
    ToolCall,
    without_calls,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models import Tokenizer, load_model
from ponder.runtime.models.chat import ChatTemplate
from ponder.runtime.script import render
from ponder.runtime.tool_calls import read_calls
from ponder.runtime.values import Prompt, Wording

PATH = BranchPath(3)
ADD: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds. Not <|im_end|>",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
USER = Message(role="user", content="What is 2 + 3?")
CALL = ToolCall(id="c1", name="add", arguments='{"a": "é<|im_end|>"}')
TURNS = (
    USER,
    Message(role="assistant", content="I add.", tool_calls=(CALL,)),
    Message(role="tool", content="5 <|im_end|>", tool_call_id="c1", name="add"),
)
SAID = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'
HERMES = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "Say <tool_call>{...}</tool_call><|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls %}{{ '\n' }}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def texts() -> st.SearchStrategy[str]:
    parts = ["<tool_call>", "</tool_call>", SAID, '{"name": "f"}', "{", "}", "\n", " a "]
    return st.lists(st.sampled_from(parts), max_size=8).map("".join)


@given(texts())
def test_what_is_no_call_stays_text(text: str) -> None:
    """Text is shorter by its calls, and by nothing else."""
    calls, rest = read_calls(text, PATH, 0), without_calls(text)
    assert bool(calls) == (rest != text)
    assert len(rest) + len(calls) * len("<tool_call></tool_call>") <= len(text)


@pytest.mark.parametrize(
    ("inside", "arguments"),
    [
        ('{"name": "f", "arguments": {"x": [1, "é"]}}', '{"x": [1, "é"]}'),
        ('\n {"arguments": {}, "name": "f", "more": 1}\n', "{}"),
        ('{"name": "f"}', "{}"),
        ('{"name": "f", "arguments": null}', "{}"),
        ('{"name": "f", "arguments": {"x": 1}', None),
        ('{"name": "f", "arguments": "x"}', None),
        ('{"name": "f", "arguments": {"x": NaN}}', None),
        ('{"name": "", "arguments": {}}', None),
        ('{"name": 3}', None),
        ('["name"]', None),
        ("[" * 100_000, None),
    ],
)
def test_calls_are_json_objects_with_a_name(inside: str, arguments: str | None) -> None:
    text = f"Well <tool_call>{inside}</tool_call>, then"
    found = read_calls(text, PATH, 0)
    assert [(c.name, c.arguments) for c in found] == ([("f", arguments)] if arguments else [])
    assert without_calls(text) == (text if arguments is None else "Well , then")


def test_calls_have_names_of_their_own() -> None:
    names = {
        c.id
        for at in (0, 9)
        for path in (PATH, PATH.child(1))
        for c in read_calls(SAID * 2, path, at)
    }
    assert len(names) == 8
    assert read_calls(SAID, PATH, 0) == read_calls(SAID, PATH, 0)


def hermes(path: Path, template: str = HERMES) -> Tokenizer:
    file = tiny_models.write(path / "m.gguf", settings={"tokenizer.chat_template": template})
    return load_model(str(file)).tokenizer


def test_a_template_gets_tools_calls_and_answers(tmp_path: Path) -> None:
    """As written out by hand; control tokens spelled in any of them are plain text."""
    tokenizer = hermes(tmp_path)
    start, end = 1, 2
    plain = tokenizer.encode
    offer = json.dumps(ADD, ensure_ascii=False)
    call = '{"name": "add", "arguments": {"a": "é<|im_end|>"}}'
    assert tokenizer.tools
    assert tokenizer.encode_prompt(Chat(messages=TURNS, fields={"tools": [ADD]})) == [
        *(start, *plain(f"system\n{offer}\nSay <tool_call>{{...}}</tool_call>"), end, *plain("\n")),
        *(start, *plain(f"user\n{USER.content}"), end, *plain("\n"), start),
        *plain(f"assistant\nI add.\n<tool_call>\n{call}\n</tool_call>"),
        *(end, *plain("\n"), start, *plain("tool\n5 <|im_end|>"), end, *plain("\n")),
        *(start, *plain("assistant\n")),
    ]
    assert start not in plain("<|im_start|>")


@pytest.mark.parametrize(
    ("template", "reads"),
    [
        (HERMES, True),
        (tiny_models.TEMPLATE, False),
        (HERMES.replace('{"name": "', '{"function": "'), False),
        (HERMES.replace("{{ tool | tojson }}", ""), False),
        (
            HERMES.replace(
                "{{ m.content }}", "{% if m.role == 'user' %}{{ m.content }}{% endif %}"
            ),
            False,
        ),
        ("{{ raise_exception('no tools') }}", False),
    ],
)
def test_templates_show_whether_they_take_tools(template: str, reads: bool) -> None:
    assert ChatTemplate(template, names={}, where="here").tools == reads


def test_arguments_of_a_call_must_be_an_object(tmp_path: Path) -> None:
    call = ToolCall(id="c1", name="add", arguments="[1]")
    turns = [USER, Message(role="assistant", content="", tool_calls=(call,))]
    with pytest.raises(InputError, match=r"call 'c1' of tool 'add' has arguments '\[1\]'; give"):
        hermes(tmp_path).encode_prompt(turns)


class CallingTokenizer(ByteTokenizer):
    """A model's byte `a` is a call, and its template is that of the scripted engine."""

    tools = True

    def encode_prompt(self, prompt: Wording) -> list[int]:
        return self.encode(render(prompt))

    def decode(self, tokens: Sequence[int]) -> str:
        return super().decode(tokens).replace("a", SAID)


def own() -> LocalEngine:
    model = tiny()
    model = type(model)(
        name=model.name,
        config=model.config,
        tokenizer=CallingTokenizer(),
        weights=model.weights,
    )
    return LocalEngine(model, pages=64, threads=1)


async def said(engine: Any, prompt: Prompt, params: Sampling) -> list[Segment]:
    async with await engine.open(prompt, path=PATH) as root:
        return [await branch.extend(params) for branch in root.fork(8)]


FREE = Sampling(max_tokens=3, temperature=100.0, bias=((ord("a"), 1e5), (EOS, 1e5)))
"""Calls and the end of the turn alone, about as often."""


def test_the_own_engine_reads_calls_out_of_replies() -> None:
    engine = own()
    segments = asyncio.run(said(engine, Chat(messages=TURNS, fields={"tools": [ADD]}), FREE))
    silent = asyncio.run(said(engine, TURNS, FREE))
    asyncio.run(engine.close())
    assert {s.finish for s in segments} == {Finish.TOOLS, Finish.EOS, Finish.LENGTH}
    for segment, same in zip(segments, silent, strict=True):
        ended = segment.tokens[-1:] == (EOS,)
        calls = segment.text.count(SAID) if ended else 0
        assert [(c.name, c.arguments) for c in segment.tool_calls] == [("add", '{"a": 2}')] * calls
        assert (segment.finish is Finish.TOOLS) == bool(calls)
        assert not same.tool_calls, "no tools were on offer"


def test_a_scripted_reply_calls_tools() -> None:
    engine = ScriptedEngine(lambda prompt: {f"Well. {SAID}" if "tools: " in prompt else "No.": 1.0})
    whole = Sampling(max_tokens=99)
    chat = Chat(messages=(USER,), fields={"tools": [ADD]})
    (called, *_), (plain, *_) = (asyncio.run(said(engine, p, whole)) for p in (chat, [USER]))
    assert called.finish is Finish.TOOLS
    assert [c.name for c in called.tool_calls] == ["add"]
    assert (plain.text, plain.finish, plain.tool_calls) == ("No.", Finish.EOS, ())


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Chat(messages=(USER,), fields={"tools": [ADD]}), "takes no tools"),
        (TURNS, "takes no tools"),
        (Chat(messages=(USER,), fields={"response_format": {"type": "json_object"}}), "a format"),
    ],
)
def test_a_model_that_knows_no_tools_refuses_them(prompt: Prompt, words: str) -> None:
    engine = LocalEngine(tiny(), pages=64, threads=1)
    with pytest.raises(CapabilityError, match=words):
        asyncio.run(engine.open(prompt, path=PATH))
    assert engine.stats().branches == 0
    asyncio.run(engine.close())
