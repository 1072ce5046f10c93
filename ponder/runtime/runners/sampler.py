"""Draws one token a row from logits, all rows at once.

Bias and grammar, temperature, top-k, min-p and top-p apply in that order, as `script.truncate`
states it for one row; the draw is the inverse CDF over token ids in float64 at a given uniform.
Chance comes in as a number, so this module has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ponder.runtime.errors import InputError
from ponder.runtime.kernels.arrays import booleans, floats, integers, tensor_of
from ponder.runtime.values import Sampling

FIRST_LOOK = 128
"""Candidates ranked at first to find where truncation cuts; eight times as many until it is found.
"""
RUN = 256
"""Tokens summed together before the run that a draw falls into is searched."""


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
    allowed: npt.NDArray[np.uint8] | None = None
    """Bits of the tokens that a grammar allows next, eight a byte, the first the lowest,
    [vocabulary / 8, rounded up]; None allows all.
    """

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


_EACH_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_BARS = np.where(_EACH_BYTE, np.float32(0), np.float32(-np.inf))
"""By byte, what its eight tokens get."""
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
    if logits.is_cuda:  # torch's order there depends on the number of rows
        from ponder.runtime.kernels.gpu.norm import log_sum_exp

        return log_sum_exp(logits)
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
    shaped = shape(logits, rules)
    greedy = torch.tensor([rule.temperature == 0 for rule in rules])
    tokens = shaped.argmax(dim=-1)
    sampled = (~greedy).nonzero().view(-1)
    if len(sampled):
        some = shaped if len(sampled) == len(rules) else shaped[sampled]
        kept = [rules[i] for i in integers(sampled)]
        points = torch.tensor(
            [uniforms[i] for i in integers(sampled)], dtype=torch.float64, device=logits.device
        )
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
    """The logits with each rule's bias; the same tensor where there is none."""
    if not any(len(rule.biased) for rule in rules):
        return logits
    shaped = logits.clone()
    for row, rule in zip(shaped, rules, strict=True):
        if len(rule.biased):
            row.index_add_(0, rule.biased.to(row.device), rule.nats.to(row.device))
    return shaped


def shape(logits: Tensor, rules: Sequence[Rule]) -> Tensor:
    """With each row's bias added, and -inf where its grammar forbids; the very same tensor where
    there is neither.
    """
    shaped = biased(logits, rules)
    if all(rule.allowed is None for rule in rules):
        return shaped
    held = shaped.clone() if shaped is logits else shaped
    for row, rule in zip(held, rules, strict=True):
        if rule.allowed is not None:
            row.add_(bars(rule.allowed, len(row)).to(row.device))
    return held


def bars(allowed: npt.NDArray[np.uint8], vocabulary: int) -> Tensor:
    """0 for tokens that these bits allow, -inf for others, float32 [vocabulary]; looked up a byte
    at a time, since a fill under a mask takes many times as long.
    """
    return tensor_of(_BARS.take(allowed, axis=0).reshape(-1)[:vocabulary])


def _weights(logits: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Unnormalised probabilities after temperature and truncation, [rows, vocabulary]."""
    temperature = _temperatures(rules, logits.device)
    weights = ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).exp_()
    rows = [i for i, rule in enumerate(rules) if rule.truncates]
    if len(rows) == len(rules):
        return weights.mul_(_kept(logits, weights, rules))
    if rows:
        some = torch.tensor(rows)
        weights[some] *= _kept(logits[some], weights[some], [rules[i] for i in rows])
    return weights


def _temperatures(rules: Sequence[Rule], device: torch.device) -> Tensor:
    """[rows, 1], kept where float32 can divide by them."""
    return torch.tensor(
        [[min(max(rule.temperature, 1e-30), 1e30)] for rule in rules], device=device
    )


def _kept(logits: Tensor, weights: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Marks what truncation leaves. Top-k, min-p and top-p each keep a beginning of the ranking, so
    together they are one count a row.
    """
    ids, device = logits.shape[1], logits.device
    top_k = torch.tensor([[rule.top_k or ids] for rule in rules], device=device)
    min_p = torch.tensor([[rule.min_p] for rule in rules], dtype=torch.float64, device=device)
    top_p = torch.tensor([[rule.top_p] for rule in rules], dtype=torch.float64, device=device)
    total = weights.masked_fill(weights < min_p, 0.0).sum(dim=-1, keepdim=True, dtype=torch.float64)
    look = min(ids, max([FIRST_LOOK, *(rule.top_k or 0 for rule in rules)]))
    while True:
        ranked = logits.topk(look, dim=-1).values
        shares = ((ranked - ranked[:, :1]) / _temperatures(rules, device)).exp_().double()
        shares[(torch.arange(look, device=device) >= top_k) | (shares < min_p)] = 0.0
        total = torch.where(top_k < ids, shares.sum(dim=-1, keepdim=True), total)
        before = shares.cumsum(dim=-1) - shares
        counts = ((before < top_p * total) & (shares > 0)).sum(dim=-1, keepdim=True).clamp_min(1)
        if look == ids or bool(((counts < look) | (top_k <= look)).all()):
            return _leaders(logits, ranked.gather(1, counts - 1), counts)
        look = min(8 * look, ids)


def _leaders(logits: Tensor, edge: Tensor, counts: Tensor) -> Tensor:
    """Marks each row's `counts` largest, down to `edge`, the lowest ids first among equals."""
    kept = logits >= edge
    crowded = (kept.sum(dim=-1, keepdim=True) > counts).view(-1).nonzero().view(-1)
    if len(crowded):
        above, level = logits[crowded] > edge[crowded], logits[crowded] == edge[crowded]
        left = counts[crowded] - above.sum(dim=-1, keepdim=True)
        kept[crowded] = above | (level & (level.cumsum(dim=-1) <= left))
    return kept


def _invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulated weight exceeds its share of the total; sums are float64, by
    runs of tokens first and then within the one run that matters.
    """
    runs = functional.pad(weights, (0, -weights.shape[1] % RUN)).view(len(weights), -1, RUN)
    sums = runs.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1).nan_to_num(0.0)
    points = uniforms[:, None] * sums[:, -1:]
    run = _first_above(sums, points)
    rest = points - functional.pad(sums, (1, 0)).gather(1, run)
    rows = torch.arange(len(runs), device=runs.device)
    inside = runs[rows, run.view(-1)].double().cumsum(dim=-1).nan_to_num(0.0)
    token = run * RUN + _first_above(inside, rest)
    return token.view(-1).clamp_max(weights.shape[1] - 1)


def _first_above(sums: Tensor, points: Tensor) -> Tensor:
    """Rounding may push a point to the total; the last one with any weight takes it."""
    last = torch.searchsorted(sums, sums[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(sums, points, right=True), last)
