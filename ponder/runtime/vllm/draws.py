"""Draws inside vLLM's step: a logits processor that puts what our own sampler drew in place of the
logits, so that a draw is a function of the branch's path and the position, as everywhere.

vLLM's own seeds are those of a generator with a state, which a rewind cannot turn back; and on CPUs
its engine dies of one when a prompt is computed in chunks (0.32: a CPU generator has no offset).
Imported by vLLM's worker alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ponder.runtime.runners.sampler import Rule, draw, make_rule
from ponder.runtime.seeds import uniform
from ponder.runtime.vllm.wish import Wish

_processors: Any = import_module("vllm.v1.sample.logits_processor")  # Any: vLLM's


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    rule: Rule
    key: tuple[int, int]
    start: int
    drawn: Sequence[int]
    """Grows as the request does."""

    @property
    def point(self) -> float:
        return uniform(self.key, self.start + len(self.drawn))


class PathDraws:
    """One of vLLM's logits processors. A request without a wish is left as it is."""

    def __init__(self, config: Any, device: torch.device, pinned: bool) -> None:
        self._vocabulary: int = config.model_config.get_vocab_size()
        self._rows: dict[int, _Row] = {}

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Ours are checked before they are sent."""

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        _processors.process_dict_updates(self._rows, batch_update, self._row)

    def apply(self, logits: Tensor) -> Tensor:
        """`logits` [rows, vocabulary] as they come from the model; changed in place."""
        if self._rows:
            places, rows = list(self._rows), list(self._rows.values())
            drawn = draw(logits[places], [row.rule for row in rows], [row.point for row in rows])
            logits[places] = -torch.inf
            logits[places, [each.token for each in drawn]] = 0.0
        return logits

    def _row(self, params: Any, prompt: object, drawn: Sequence[int]) -> _Row | None:
        wish = Wish.heard(params.extra_args)
        if wish is None:
            return None
        return _Row(make_rule(wish.params, self._vocabulary), wish.key, wish.start, drawn)


_processors.LogitsProcessor.register(PathDraws)
