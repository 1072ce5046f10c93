"""How a decode is to be drawn, as it travels to where vLLM samples (`draws.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ponder.runtime.values import Sampling

FIELD: Final = "ponder"
"""Of a request's `extra_args`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    params: Sampling
    key: tuple[int, int]
    """Of the branch's path."""
    start: int
    """Position of the first draw."""
    ends: frozenset[int] = frozenset()
    """Tokens that end a turn; they are vLLM's to watch."""

    def told(self) -> dict[str, Any]:  # Any: plain values
        """As `extra_args`."""
        params = self.params
        settings = (params.temperature, params.top_k, params.top_p, params.min_p)
        return {FIELD: [self.key, self.start, settings, params.bias]}

    @classmethod
    def heard(cls, extra_args: Mapping[str, Any] | None) -> Self | None:
        """None where the request is not one of ours."""
        told = (extra_args or {}).get(FIELD)
        if told is None:
            return None
        (first, second), start, (temperature, top_k, top_p, min_p), bias = told
        params = Sampling(
            max_tokens=1,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            bias=tuple((token, nats) for token, nats in bias),
        )
        return cls(params=params, key=(first, second), start=start)
