"""The exact model behind the scripted engine: weighted replies, read as a distribution over the
next character. A token is a Unicode code point.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence

from ponder.runtime.chat import Chat
from ponder.runtime.picking import Row
from ponder.runtime.values import Logits, Sampling, ToolCall, Wording

Script = Callable[[str], Mapping[str, float]]
"""From the rendered prompt to replies and their weights (positive, any sum)."""

END = 0x110000
"""Token id of the end of a reply, the one after the last code point."""
VOCABULARY = END + 1
REPLY = "assistant: "
"""Opens the model's turn."""


def arithmetic(prompt: str) -> Mapping[str, float]:
    """The script behind `--engine scripted`: sums, differences and products of the last two numbers
    it can see.
    """
    numbers = [int(n) for n in re.findall(r"\d{1,9}", prompt)][-2:] or [0]
    a, b = numbers[0], numbers[-1]
    replies = {
        f"{a} + {b} = {a + b}": 0.5,
        f"{a} - {b} = {a - b}": 0.3,
        f"{a} * {b} = {a * b}": 0.2,
    }
    return {
        f"{work}. The answer is \\boxed{{{work.split(' = ')[1]}}}.": w
        for work, w in replies.items()
    }


def render(prompt: Wording) -> str:
    """Chat turns as `role: content` lines, after one of the tools; text as it is."""
    if isinstance(prompt, str):
        return prompt
    tools = Chat.of(prompt).tools
    lines = [f"tools: {json.dumps(tools, ensure_ascii=False)}\n"] if tools else []
    for message in prompt:
        calls = "".join(_call(call) for call in message.tool_calls)
        lines.append(f"{message.role}: {message.content}{calls}\n")
    return "".join(lines) + REPLY


def parted(text: str) -> tuple[str, str]:
    """A prompt and what has been said to it, of both in one; all is prompt where nothing opens a
    reply.
    """
    before, opening, said = text.rpartition(REPLY)
    return (before + opening, said) if opening else (text, "")


def _call(call: ToolCall) -> str:
    said = f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}'
    return f"<tool_call>{said}</tool_call>"


def next_token(script: Script, prompt: str, said: str) -> dict[int, float]:
    """The exact distribution of the next token, in order of token id."""
    weights: dict[int, float] = {}
    for reply, weight in script(prompt).items():
        if reply.startswith(said):
            token = ord(reply[len(said)]) if len(reply) > len(said) else END
            weights[token] = weights.get(token, 0.0) + weight
    total = sum(weights.values())
    if not total:
        return {END: 1.0}  # the text left the script: nothing more to say
    return {token: weights[token] / total for token in sorted(weights)}


def logits_of(model: Mapping[int, float]) -> Logits:
    values = [-math.inf] * VOCABULARY
    for token, p in model.items():
        values[token] = math.log(p)
    return values


def row_of(model: Mapping[int, float]) -> Row:
    """The same as an array, which is quicker to fill."""
    import numpy as np

    row = np.full(VOCABULARY, -np.inf, dtype=np.float32)
    row[list(model)] = list(map(math.log, model.values()))
    return row


def truncate(model: Mapping[int, float], params: Sampling) -> dict[int, float]:
    """Weights after bias, temperature, top-k, min-p and top-p, in that order, by token id."""
    bias = dict(params.bias)
    logits = {
        t: math.log(p) + bias.get(t, 0.0) for t, p in model.items() if bias.get(t, 0.0) > -math.inf
    }
    ranked = sorted(logits, key=lambda t: (-logits[t], t))
    if params.temperature == 0 or not ranked:
        return {t: 1.0 for t in ranked[:1]}
    best = logits[ranked[0]]
    ranked = ranked[: params.top_k]
    weights = {t: math.exp((logits[t] - best) / params.temperature) for t in ranked}
    weights = {t: w for t, w in weights.items() if w >= params.min_p}
    total, seen, kept = sum(weights.values()), 0.0, dict[int, float]()
    for token, weight in weights.items():
        if seen >= params.top_p * total:
            break
        kept[token] = weight
        seen += weight
    return dict(sorted(kept.items()))


def pick(weights: Mapping[int, float], point: float) -> int:
    """Inverse CDF over token ids; `point` is in [0, 1)."""
    rest, token = point * sum(weights.values()), next(iter(weights))
    for token, weight in weights.items():  # noqa: B007 - rounding may leave the last
        rest -= weight
        if rest < 0:
            break
    return token


def spell(tokens: Sequence[int]) -> str:
    return "".join(chr(t) for t in tokens if t != END)
