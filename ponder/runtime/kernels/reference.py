"""Attention over part of the keys, with its log-sum-exp, and the exact merge of such parts, in
plain torch: the oracle that faster kernels are held to.

Sums are in float32 whatever the inputs are. An empty part is (0, -inf); merging guards against
(-inf) - (-inf). Knows nothing of pages or branches.
"""

from __future__ import annotations

import torch
from torch import Tensor


def partial_attention(
    queries: Tensor, keys: Tensor, values: Tensor, limits: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax attention of each query over the keys before its limit.

    Args:
        queries: [kv_heads, items, queries, group, head_dim]; a group shares one KV head.
        keys: [kv_heads, items, places, head_dim]
        values: as keys.
        limits: [items, queries]; None where all see all.
        scale: of the scores, as a rule 1 / sqrt(head_dim).

    Returns:
        Outputs shaped like the queries, and log-sum-exps (nats) [kv_heads, items, queries, group].
    """
    heads, items, count, group, width = queries.shape
    flat = (queries.float() * scale).reshape(heads * items, count * group, width)
    scores = torch.bmm(flat, keys.float().flatten(0, 1).transpose(1, 2))
    if limits is not None:
        visible = torch.arange(scores.shape[-1]) < limits[..., None]
        grid = scores.view(heads, items, count, group, -1)
        grid.masked_fill_(~visible[None, :, :, None], -torch.inf)
    top = scores.amax(dim=-1, keepdim=True) if scores.shape[-1] else scores.new_zeros(1)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = torch.sub(scores, top).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    output = torch.bmm(weights, values.float().flatten(0, 1))
    output /= total.masked_fill(total == 0, 1.0)
    lse = (top + total.log()).reshape(heads, items, count, group)
    return output.view(queries.shape), lse


def merge(outputs: Tensor, lses: Tensor) -> tuple[Tensor, Tensor]:
    """Merge partial attentions over disjoint sets of keys.

    Args:
        outputs: [..., parts, group, head_dim]
        lses: [..., parts, group]

    Returns:
        The attention over the union: [..., group, head_dim], and its log-sum-exp [..., group].
    """
    top = lses.amax(dim=-2, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = (lses - top).exp()
    total = weights.sum(dim=-2)
    output = (outputs * weights[..., None]).sum(dim=-3)
    output = output / total.masked_fill(total == 0, 1.0)[..., None]
    return output, top.squeeze(-2) + total.log()
