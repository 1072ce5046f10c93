"""What an engine counts of itself, true to the token and the second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTime:
    """Seconds that an engine was busy so far, by what it did; waiting for work is not counted."""

    linear: float = 0.0
    """Matrix products of the layers; a runner that cannot tell counts all its layers here."""
    attention: float = 0.0
    other: float = 0.0
    """Of the layers: norms, rounding, embedding, planning."""
    head: float = 0.0
    """From hidden states to logits."""
    sampling: float = 0.0
    host: float = 0.0
    """Scheduling, tables and everything else that no kernel does."""

    @property
    def total(self) -> float:
        return self.linear + self.attention + self.other + self.head + self.sampling + self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """True counters since the engine started.

    `prefilled + cached` is what was given and charged. Between steps, `computed` is `prefilled -
    opened + decoded + scored + recomputed + dropped`, whatever is preempted, edited or cancelled.
    """

    prefilled: int
    """Given tokens (prompts, appended and spliced text) whose KV had to be computed."""
    cached: int
    """Given tokens whose KV was found."""
    opened: int
    """Prompts, and tails that a splice began anew. The last token of each is computed with whatever
    is drawn or read after it.
    """
    decoded: int
    scored: int
    recomputed: int
    """Tokens computed that nobody is charged for: again because their KV was taken back, or for an
    edit that keeps KV (the last tokens of joined branches never had any).
    """
    dropped: int
    """Tokens computed for calls that ended or failed before they had what they wanted, or that are
    under way.
    """
    computed: int
    """Tokens run through the model, whatever for."""
    time: EngineTime
    steps: int
    pages: int
    """Pages in the pool; 0 where an engine has none."""
    pages_held: int
    pages_shared: int
    """Pages that more than one view or cache entry holds."""
    evicted: int
    """Pages taken back from the prefix cache so far."""
    preempted: int
    """Times a branch lost its KV to make room; its tokens were recomputed later."""
    branches: int
    """Open branches."""
    pages_cached: int = 0
    """Those of `pages_held` that the prefix cache alone holds: free for whoever needs them."""


def idle(branches: int = 0) -> EngineStats:
    """Of an engine that computes nothing."""
    return EngineStats(
        prefilled=0,
        cached=0,
        opened=0,
        decoded=0,
        scored=0,
        recomputed=0,
        dropped=0,
        computed=0,
        time=EngineTime(),
        steps=0,
        pages=0,
        pages_held=0,
        pages_shared=0,
        evicted=0,
        preempted=0,
        branches=branches,
    )
