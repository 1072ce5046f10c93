"""A reward model behind a real HTTP server, in either contract, that misbehaves on request."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fault_server import Json, ScriptedModel, Server, running, send

from ponder.runtime import Message
from ponder.runtime.script import render

SEPARATOR = "<extra_0>"
Grade = Callable[[str, Sequence[str]], Sequence[float]]
"""From the rendered question and the steps to a score a step."""


def by_length(question: str, steps: Sequence[str]) -> list[float]:
    """The longer a step, the better: a hundred letters are perfect."""
    return [min(1.0, len(step) / 100) for step in steps]


class RewardServer(Server):
    """Keeps `/rewards`, or `/pooling` of a shape: "steps", "tokens" or "whole"."""

    def __init__(self, grade: Grade, contract: str, key: str) -> None:
        super().__init__({}, ScriptedModel(), key)
        self.grade = grade
        self.contract = contract
        self.fault: str | None = None
        self.failing = 0
        """Requests that fail before one goes well."""
        self.asked: list[Json] = []
        """Bodies that asked for rewards, those of failing requests too."""

    async def answer(
        self, line: str, fields: Mapping[str, str], raw: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        path = line.split()[1]
        if self.key and fields.get("authorization") != f"Bearer {self.key}":
            return await send(writer, {"error": {"message": "wrong key"}}, status=401)
        if path == "/v1/models":
            return await send(writer, {"data": [{"id": "prm"}]})
        body: Json = json.loads(raw or b"{}")
        if path == "/apply-template" and self.contract != "rewards":
            turns = [Message(role=m["role"], content=m["content"]) for m in body["messages"]]
            return await send(writer, {"prompt": render(turns)})
        if path != ("/v1/rewards" if self.contract == "rewards" else "/pooling"):
            return await send(writer, {"error": {"message": "not here"}}, status=404)
        self.asked.append(body)
        return await self._score(body, writer)

    async def _score(self, body: Json, writer: asyncio.StreamWriter) -> bool:
        fault = self.fault
        if fault in ("500", "429") and self.failing:
            self.failing -= 1
            fields = {"Retry-After": "0.01"} if fault == "429" else {}
            return await send(writer, {"error": "no"}, status=int(fault), fields=fields)
        if fault == "hang":
            await asyncio.sleep(30)
        if fault == "html":
            return await send(writer, "<html>It works!</html>", kind="text/html")
        if fault == "hangs up":
            return False
        if "too long" in json.dumps(body):
            message = "this model's maximum context length is 8 tokens"
            return await send(writer, {"error": {"message": message}}, status=400)
        reply = self._rewards(body) if self.contract == "rewards" else self._pooled(body)
        return await send(writer, reply)

    def _rewards(self, body: Json) -> Json:
        scores = [list(self.grade(said(one), one["steps"])) for one in body["inputs"]]
        broken: dict[str | None, Any] = {
            "nan": [[math.nan for _ in row] for row in scores],
            "range": [[1.5 for _ in row] for row in scores],
            "null": [[None for _ in row] for row in scores],
            "count": scores[:-1],
            "steps": [[*row, 0.5] for row in scores],
        }
        lengths = [len(said(one)) + len("".join(one["steps"])) for one in body["inputs"]]
        return {"scores": broken.get(self.fault, scores), "tokens": lengths}

    def _pooled(self, body: Json) -> Json:
        data = [{"index": i, "data": self._rows(text)} for i, text in enumerate(body["input"])]
        if self.fault == "count":
            data.pop()
        if self.fault == "twice":
            data[-1] = {**data[0]}
        return {"data": data[::-1], "usage": {"prompt_tokens": sum(map(len, body["input"]))}}

    def _rows(self, text: str) -> list[Any]:
        question, _, answer = text.partition("assistant: ")
        bad = {"nan": math.nan, "range": 1.5, "null": None}
        if self.contract == "steps":
            scores = self.grade(question, answer.split(SEPARATOR)[:-1])
            return [[1 - s, bad.get(self.fault or "", s)] for s in scores]
        if self.contract == "vectors":
            return [[0.5] * 64 for _ in text]
        score = self.grade(question, [answer])[0]
        worth = bad.get(self.fault or "", 10 * score - 5 if self.contract == "whole" else score)
        return [worth] if self.contract == "whole" else [[0.0]] * (len(text) - 1) + [[worth]]


def said(one: Json) -> str:
    """The question of an input, as a script has it."""
    if "prompt" in one:
        text: str = one["prompt"]
        return text
    return render([Message(role=m["role"], content=m["content"]) for m in one["messages"]])


@contextmanager
def rewarding(
    grade: Grade = by_length, contract: str = "rewards", *, key: str = ""
) -> Iterator[RewardServer]:
    with running(RewardServer(grade, contract, key)) as server:
        yield server
