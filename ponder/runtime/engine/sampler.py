"""Draws one token a row from logits, all rows at once.

Bias, temperature, top-k, min-p and top-p apply in that order, as `scripted.truncate` states it for
one row; the draw is the inverse CDF over token ids in float64 at a given uniform. Chance comes in
as a number, so this module has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ponder.runtime.api import Sampling
from ponder.runtime.errors import InputError
from ponder.runtime.kernels.arrays import booleans, floats, integers

FIRST_LOOK = 128
"""Candidates sorted at first to find where top-p cuts; four times as many until it is found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """Sampling settings of one decode, its bias as tensors."""

    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    biased: Tensor
    """Token ids."""
    nats: Tensor

    @property
    def truncates(self) -> bool:
        return self.top_k is not None or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A row's token and its log-probability under the model's own distribution; `fault` says why
    there is none.
    """

    token: int = 0
    logprob: float = 0.0
    fault: str = ""


NOT_FINITE = "the model's logits are not finite"
FORBIDDEN = "every token is forbidden by `bias`"


def make_rule(params: Sampling, vocabulary: int) -> Rule:
    bias = dict(params.bias)
    for token, nats in bias.items():
        if not 0 <= token < vocabulary:
            raise InputError(f"bias on token {token!r}; ids are 0 to {vocabulary - 1}")
        if nats != nats or nats == float("inf"):
            raise InputError(f"bias of {nats!r} on token {token!r}; it must be finite or -inf")
    return Rule(
        temperature=params.temperature,
        top_k=None if params.top_k is None else min(params.top_k, vocabulary),
        top_p=params.top_p,
        min_p=params.min_p,
        biased=torch.tensor(list(bias), dtype=torch.long),
        nats=torch.tensor(list(bias.values()), dtype=torch.float32),
    )


def log_normalisers(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials a row, [rows]; not finite where the row is not."""
    top = logits.amax(dim=-1, keepdim=True)
    return (top + (logits - top).exp_().sum(dim=-1, keepdim=True).log()).squeeze(-1)


def draw(logits: Tensor, rules: Sequence[Rule], uniforms: Sequence[float]) -> list[Draw]:
    """One token a row.

    Args:
        logits: [rows, vocabulary]; not changed.
        rules: one a row.
        uniforms: one a row, in [0, 1).
    """
    norms = log_normalisers(logits)
    shaped = biased(logits, rules)
    greedy = torch.tensor([rule.temperature == 0 for rule in rules])
    tokens = shaped.argmax(dim=-1)
    sampled = (~greedy).nonzero().view(-1)
    if len(sampled):
        some = shaped if len(sampled) == len(rules) else shaped[sampled]
        kept = [rules[i] for i in integers(sampled)]
        points = torch.tensor([uniforms[i] for i in integers(sampled)], dtype=torch.float64)
        tokens[sampled] = _invert(_weights(some, kept), points)
    chosen = logits.gather(1, tokens[:, None]).squeeze(1).double() - norms.double()
    empty = shaped.gather(1, tokens[:, None]).squeeze(1) == -torch.inf
    return [
        _verdict(*row)
        for row in zip(
            integers(tokens),
            floats(chosen),
            booleans(norms.isfinite()),
            booleans(empty),
            strict=True,
        )
    ]


def _verdict(token: int, logprob: float, finite: bool, empty: bool) -> Draw:
    if not finite:
        return Draw(fault=NOT_FINITE)
    return Draw(fault=FORBIDDEN) if empty else Draw(token=token, logprob=min(logprob, 0.0))


def biased(logits: Tensor, rules: Sequence[Rule]) -> Tensor:
    """With each row's bias added; the very same tensor where there is none."""
    rows = [i for i, rule in enumerate(rules) if len(rule.biased)]
    if not rows:
        return logits
    which = torch.cat([torch.full_like(rules[i].biased, i) for i in rows])
    ids = torch.cat([rules[i].biased for i in rows])
    nats = torch.cat([rules[i].nats for i in rows])
    return logits.index_put((which, ids), nats, accumulate=True)


def _weights(logits: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Unnormalised probabilities after temperature and truncation, float64 [rows, vocabulary]."""
    temperature = torch.tensor([rule.temperature for rule in rules], dtype=torch.float64)
    best = logits.amax(dim=-1, keepdim=True)
    weights = ((logits - best).double() / temperature[:, None]).exp_()
    rows = [i for i, rule in enumerate(rules) if rule.truncates]
    if rows:
        some = torch.tensor(rows)
        weights[some] = _truncated(logits[some], weights[some], [rules[i] for i in rows])
    return weights


def _truncated(logits: Tensor, weights: Tensor, rules: Sequence[Rule]) -> Tensor:
    ids = logits.shape[1]
    top_k = torch.tensor([rule.top_k or ids for rule in rules])
    cut = (top_k < ids).nonzero().view(-1)
    if len(cut):
        weights[cut] = weights[cut] * _leaders(logits[cut], top_k[cut])
    floors = torch.tensor([rule.min_p for rule in rules], dtype=torch.float64)
    weights = weights.masked_fill(weights < floors[:, None], 0.0)
    top_p = torch.tensor([rule.top_p for rule in rules], dtype=torch.float64)
    cut = (top_p < 1).nonzero().view(-1)
    if len(cut):
        counts = _nucleus(logits[cut], weights[cut], top_p[cut])
        weights[cut] = weights[cut] * _leaders(logits[cut], counts)
    return weights


def _leaders(logits: Tensor, counts: Tensor) -> Tensor:
    """Marks each row's `counts` largest, the lowest ids first among equals."""
    most = int(counts.max())
    ranked = logits.topk(most, dim=-1).values
    edge = ranked.gather(1, (counts - 1)[:, None])
    above, level = logits > edge, logits == edge
    left = counts[:, None] - above.sum(dim=-1, keepdim=True)
    return above | (level & (level.cumsum(dim=-1) <= left))


def _nucleus(logits: Tensor, weights: Tensor, top_p: Tensor) -> Tensor:
    """How many of the likeliest tokens it takes for a share `top_p` of the weight, [rows]."""
    goal = top_p[:, None] * weights.sum(dim=-1, keepdim=True)
    look, ids = min(FIRST_LOOK, logits.shape[1]), logits.shape[1]
    while True:
        # Equal logits have equal weights but for those that top-k left out: sort by both.
        ranked = weights.topk(look, dim=-1).values
        before = ranked.cumsum(dim=-1) - ranked
        counts = ((before < goal) & (ranked > 0)).sum(dim=-1)
        if look == ids or int(counts.max()) < look:
            return counts.clamp_min(1)
        look = min(4 * look, ids)


def _invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulated weight exceeds its share of the total."""
    sums = weights.cumsum(dim=-1)
    points = (uniforms[:, None] * sums[:, -1:]).nan_to_num(0.0)
    found = torch.searchsorted(sums.nan_to_num(0.0), points, right=True).squeeze(1)
    # Rounding may push a point to the total; the last token with any weight takes it.
    last = torch.searchsorted(sums, sums[:, -1:].contiguous()).squeeze(1)
    return torch.minimum(found, last).clamp_max(weights.shape[1] - 1)
