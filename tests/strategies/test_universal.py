"""Universal self-consistency: what is shown and in which order, and what becomes of bad replies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ponder.runtime import InputError, ModelError, ScriptedEngine
from ponder.runtime.scripted_branch import ScriptedBranch
from ponder.strategies import Answer, Load, Universal
from ponder.verifiers.wording import read_pick, shortened

Make = Callable[..., Any]  # fixtures that make a context or a candidate, by keyword

FIRST = Answer(text="10", confidence=None, chosen=("sample", 0))


def saying(*replies: str) -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: dict.fromkeys(replies, 1.0))


def finds(wanted: str) -> ScriptedEngine:
    """Names the response that holds this text, wherever it is shown."""

    def script(prompt: str) -> Mapping[str, float]:
        places = re.findall(r"Response (\d+):\n---\n(.*?)\n---", prompt, re.DOTALL)
        (number,) = [n for n, text in places if wanted in text]
        return {f"2 of them say so, 3 do not.\nResponse {number}": 1.0}

    return ScriptedEngine(script)


def asked(ctx: Any, made: list[Any], strategy: Universal | None = None) -> Answer:
    (answer,) = asyncio.run(ctx.run(strategy or Universal(), made))
    assert ctx.policy.stats().branches == 0
    assert isinstance(answer, Answer)
    return answer


def five(attempt: Make) -> list[Any]:
    return [attempt(i, f"\\boxed{{{10 + i % 3}}} says {chr(97 + i)}") for i in range(5)]


def test_what_is_named_is_taken_in_any_order(alone: Make, attempt: Make) -> None:
    made, orders = five(attempt), set[str]()
    for seed in range(10):
        ctx = alone(seed=seed, policy=finds("says d"))
        # 10, 11, 12, 10, 11: the fourth says what the first does.
        assert asked(ctx, made[::-1]) == Answer(text="10", confidence=0.4, chosen=("sample", 3))
        (told,) = ctx.events
        assert told["order"][told["picked"] - 1] == ["sample", 3]
        assert sorted(told["order"]) == [["sample", i] for i in range(5)]
        assert (told["of"], told["shortened"], told["failure"]) == (5, 0, None)
        orders.add(str(told["order"]))
    assert len(orders) > 5, "the order is the seed's"
    ctx = alone(seed=9, policy=finds("says d"))
    asked(ctx, made)
    assert str(ctx.events[0]["order"]) in orders, "not of the order of arrival"


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ("banana", "no number in the reply, which ends with 'banana'"),
        ("", "no number in the reply"),
        ("Response 6", "the reply names 6 of 5"),
        ("Response 0", "the reply names 0 of 5"),
        ("1 and 12345678901234567890", "the reply names 12345678901234567890 of 5"),
        ("x" * 80 + "Response 3", "the reply was cut short: length"),
    ],
)
def test_a_reply_that_names_none_is_a_failure_in_the_trace(
    alone: Make, attempt: Make, reply: str, failure: str
) -> None:
    ctx = alone(policy=saying(reply))
    assert asked(ctx, five(attempt), Universal(max_tokens=60)) == FIRST
    (told,) = ctx.events
    assert told["picked"] is None
    assert failure in told["failure"]


class Fails(ScriptedEngine):
    async def open(self, *args: object, **settings: object) -> ScriptedBranch:
        raise ModelError("the machine is gone")


@pytest.mark.parametrize(
    ("engine", "failure"),
    [
        (Fails(), "the machine is gone"),
        (ScriptedEngine(context_length=40), "shorten it"),
    ],
)
def test_an_engine_that_cannot_is_a_failure_too(
    alone: Make, attempt: Make, engine: ScriptedEngine, failure: str
) -> None:
    ctx = alone(policy=engine)
    assert asked(ctx, five(attempt)) == FIRST
    assert failure in ctx.events[0]["failure"]


def test_one_candidate_is_taken_without_asking(alone: Make, attempt: Make) -> None:
    ctx = alone(policy=Fails())
    one = asked(ctx, five(attempt)[:1])
    assert one == Answer(text="10", confidence=1.0, chosen=("sample", 0))
    assert ctx.events[0]["failure"] is None
    assert asked(alone(), []) == Answer(text=None, confidence=None, chosen=None)
    assert Universal().bound(Load(prompt_tokens=9, candidates=1, candidate_tokens=9)).calls == 0


def test_candidates_without_an_answer_can_be_named(alone: Make, attempt: Make) -> None:
    made = [attempt(i, text) for i, text in enumerate(["a poem", "an ode", "a tale"])]
    unsure = Answer(text=None, confidence=None, chosen=("sample", 1))
    assert asked(alone(policy=finds("an ode")), made) == unsure


def test_long_candidates_lose_their_middle(alone: Make, attempt: Make) -> None:
    seen: list[str] = []

    def script(prompt: str) -> Mapping[str, float]:
        seen.append(prompt)
        return {"1": 1.0}

    made = [attempt(0, "begin " + "x" * 5000 + " \\boxed{1}"), attempt(1, "\\boxed{2}")]
    ctx = alone(policy=ScriptedEngine(script))
    asked(ctx, made, Universal(shown=200))
    assert "begin x" in seen[0]
    assert "x \\boxed{1}" in seen[0]
    assert "x" * 200 not in seen[0]
    assert ctx.events[0]["shortened"] == 1
    assert len(shortened("y" * 999, 101)) <= 101
    assert shortened("y" * 101, 101) == "y" * 101


def test_the_last_integer_counts() -> None:
    assert read_pick("2 and 3 agree, so 4.", 5) == (3, None)
    assert read_pick("**Response 1**", 1) == (0, None)
    assert read_pick("9" * 5000, 5) == (None, "the reply names 99999999999999999999 of 5")


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [({"shown": 99}, "shown is 99"), ({"max_tokens": 0}, "max_tokens is 0")],
)
def test_bad_settings_are_refused(settings: dict[str, int], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        Universal(**settings)  # type: ignore[arg-type]  # that is the point
