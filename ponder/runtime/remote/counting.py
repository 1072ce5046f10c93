"""Token counts where an endpoint tells none, or tells one for several choices."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ponder.runtime.chat import Chat
from ponder.runtime.values import Message, Wording

_BYTES = 3
"""Of UTF-8 text a token, on the low side, so that estimates are on the high side: English has
about 4, digits and formulas 2 to 3.
"""
_TURN = 4
"""Tokens of chat markup around a turn."""


def estimate(text: str) -> int:
    return -(-len(text.encode()) // _BYTES)


def estimate_prompt(prompt: Wording) -> int:
    if isinstance(prompt, str):
        return estimate(prompt)
    fields = sum(estimate(json.dumps(value)) for value in Chat.of(prompt).fields.values())
    return fields + sum(_TURN + _estimate_turn(message) for message in prompt)


def _estimate_turn(message: Message) -> int:
    calls = sum(estimate(call.name + call.arguments) for call in message.tool_calls)
    return estimate(message.content) + calls


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` split in proportion to the weights, by largest remainder: it adds up."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts
