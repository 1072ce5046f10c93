"""What passes between an engine and whoever uses it: prompts, sampling settings, segments, counts.

Plain values of tokens and text; tensors never cross this seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from ponder.runtime.errors import InputError
from ponder.runtime.grammar import Grammar


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool the model wants called."""

    id: str
    name: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat; the engine renders turns with the model's own chat template."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    tool_call_id: str = ""
    """Of a tool's turn: the call that it answers."""
    name: str = ""
    """Of who speaks, where a template or an endpoint cares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The model's own token ids, taken as they are, control tokens too. Only engines that have
    `Capabilities.token_ids` take them.
    """

    ids: tuple[int, ...]


Wording = str | Sequence[Message]
"""Raw text, taken as it is, or chat turns, rendered with the model's template and opened for the
assistant's reply. Turns may be a `Chat`, which brings tools along.
"""
Prompt = Wording | Tokens


class Finish(Enum):
    """Why a decode ended."""

    STOP = "stop"
    """A stop string appeared; the segment's text ends with the token that completed it."""
    LENGTH = "length"
    """`max_tokens` were decoded, or the context is full."""
    EOS = "eos"
    """The model ended its turn; the end token is in `tokens`, not in `text`."""
    BUDGET = "budget"
    """The deadline, or a limit set from outside the sampling settings, cut the decode short."""
    CANCELLED = "cancelled"
    TOOLS = "tools"
    """The model ended its turn with calls of tools, in `Segment.tool_calls`."""


class SpliceMode(Enum):
    """What becomes of the KV behind an edit inside a branch. Positions below are those that the
    model is told; `Branch.tokens` has no gaps.
    """

    KEEP = "keep"
    """It stays, and so do its positions: a splice leaves a gap, or an overlap with longer text; the
    tails of a join overlap, and what follows starts behind the longest (Multiverse's attention,
    arXiv 2506.09991).
    """
    SHIFT = "shift"
    """It stays, and closes up: it is read with a query that is rotated as if it had moved. It still
    attended to what was removed, so this is not what the new tokens alone would give.
    """
    REENCODE = "reencode"
    """It is computed anew: exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw tokens, and when to stop. Draws come from the branch's path, so there is no seed
    here.
    """

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy (the lowest token id on ties)."""
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    """Tokens less likely than `min_p` times the likeliest are dropped."""
    stop: tuple[str, ...] = ()
    bias: tuple[tuple[int, float], ...] = ()
    """(token id, nats added to its logit); -inf forbids."""
    confidence: int = 0
    """Of how many of the likeliest tokens `Segment.confidences` is to tell, for each token drawn; 0
    tells nothing. At most `Capabilities.confidence`.
    """
    grammar: Grammar | None = None
    """What the text must fit: only tokens that it allows are drawn, and an end token only where the
    text is complete.
    """
    grammar_start: int | None = None
    """Place in `Branch.tokens` from which on the text must fit; None: where this decode begins."""

    def __post_init__(self) -> None:
        checks: list[tuple[str, object, bool, str]] = [
            ("max_tokens", self.max_tokens, self.max_tokens >= 1, "at least 1"),
            (
                "temperature",
                self.temperature,
                0 <= self.temperature < float("inf"),
                "0 (greedy) or above",
            ),
            (
                "top_k",
                self.top_k,
                self.top_k is None or self.top_k >= 1,
                "at least 1, or None for all",
            ),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "in (0, 1]"),
            ("min_p", self.min_p, 0 <= self.min_p < 1, "in [0, 1)"),
            ("stop", self.stop, all(self.stop), "made of non-empty strings"),
            ("confidence", self.confidence, self.confidence >= 0, "0 (none) or above"),
            (
                "grammar_start",
                self.grammar_start,
                self.grammar_start is None
                or (self.grammar is not None and self.grammar_start >= 0),
                "at least 0, with a grammar; None without one",
            ),
        ]
        for name, value, good, allowed in checks:
            if not good:
                raise InputError(f"{name} is {value!r}; it must be {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens a call was charged for. Usages add up."""

    prompt: int = 0
    """Tokens given to the model (opened or appended), cached or not."""
    cached: int = 0
    """Those of `prompt` whose KV was already there."""
    decoded: int = 0
    """Tokens the model drew."""
    scored: int = 0
    """Tokens at which something was read: a log-probability, logits, a head or a hidden state."""
    estimated: int = 0
    """Those of `tokens` that the engine did not tell, and that were reckoned from the text."""

    @property
    def tokens(self) -> int:
        """What a budget counts: independent of what happened to be cached."""
        return self.prompt + self.decoded + self.scored

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            decoded=self.decoded + other.decoded,
            scored=self.scored + other.scored,
            estimated=self.estimated + other.estimated,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            prompt=self.prompt - other.prompt,
            cached=self.cached - other.cached,
            decoded=self.decoded - other.decoded,
            scored=self.scored - other.scored,
            estimated=self.estimated - other.estimated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one `extend` committed."""

    text: str
    """As it was drawn: calls that an engine read out of it are in it too."""
    tokens: tuple[int, ...]
    """In the units of `Branch.tokens`; `usage.decoded` counts what the model drew."""
    logprobs: tuple[float, ...]
    """Nats, one for each token drawn, under the model's own distribution (temperature 1, nothing
    truncated, no bias). Empty where the engine tells none.
    """
    finish: Finish
    usage: Usage
    reasoning: str = ""
    """What the model thought apart from its reply, where the engine keeps the two apart."""
    tool_calls: tuple[ToolCall, ...] = ()
    confidences: tuple[float, ...] = ()
    """Nats, one for each of `logprobs`, as `runtime.confidence` says; empty where not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a decode under way; the last one carries the finished segment."""

    text: str
    segment: Segment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Log-probabilities, in nats, of the tokens of one continuation."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.logprobs)


Logits = Sequence[float]
"""One float for each token of the vocabulary, natural-log units, unnormalised."""

Pooling = Literal["mean", "last"]
"""How hidden states of many tokens become one vector: their mean, or that of the last."""
