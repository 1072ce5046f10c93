"""Token counts where an endpoint tells none, or tells one for several choices."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.runtime.values import Prompt

_BYTES = 3
"""Of UTF-8 text a token, on the low side, so that estimates are on the high side: English has
about 4, digits and formulas 2 to 3.
"""
_TURN = 4
"""Tokens of chat markup around a turn."""


def estimate(text: str) -> int:
    return -(-len(text.encode()) // _BYTES)


def estimate_prompt(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return estimate(prompt)
    return sum(_TURN + estimate(message.content) for message in prompt)


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
