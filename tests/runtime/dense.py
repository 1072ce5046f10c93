"""An explicit model of branches: who sees whom at which position, token by token, layer by layer.

Knows nothing of pages, spans or shifts: a cell keeps its keys as they are before any rotation, and
each row rotates all it sees to their positions in its view. Written from the formulas of Llama
(arXiv 2302.13971) and the docstrings of `Branch`, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ponder.runtime.models.config import LoadedModel
from ponder.runtime.values import SpliceMode

Floats = npt.NDArray[np.float64]


@dataclass(eq=False)
class Cell:
    """A computed token."""

    token: int
    keys: list[Floats] = field(default_factory=list[Floats])
    """One a layer, [kv_heads, head_dim]."""
    values: list[Floats] = field(default_factory=list[Floats])


@dataclass(eq=False)
class Row:
    """A token to be computed at a position, and the cells it sees at theirs."""

    cell: Cell
    position: int
    seen: Sequence[tuple[Cell, int]]


class Dense:
    """The decoder."""

    def __init__(self, model: LoadedModel) -> None:
        self.config = model.config
        self._weights = {k: v.double().numpy() for k, v in model.weights.items()}
        half = np.arange(0, self.config.head_dim, 2) / self.config.head_dim
        self._frequencies = self.config.rope_theta**-half

    def step(self, rows: Sequence[Row]) -> list[Floats]:
        """Fill the rows' cells, all keys of a layer before any of its reads; returns logits."""
        w, config = self._weights, self.config
        x = [w["model.embed_tokens.weight"][row.cell.token] for row in rows]
        for i in range(config.layers):
            layer = f"model.layers.{i}"
            projected = [self._qkv(v, layer) for v in x]
            for row, (_, k, v) in zip(rows, projected, strict=True):
                row.cell.keys.append(k)
                row.cell.values.append(v)
            for j, row in enumerate(rows):
                out = self._attend(projected[j][0], row, i)
                x[j] = x[j] + w[f"{layer}.self_attn.o_proj.weight"] @ out
                h = self._norm(x[j], w[f"{layer}.post_attention_layernorm.weight"])
                gate = w[f"{layer}.mlp.gate_proj.weight"] @ h
                up = w[f"{layer}.mlp.up_proj.weight"] @ h
                x[j] = x[j] + w[f"{layer}.mlp.down_proj.weight"] @ (gate / (1 + np.exp(-gate)) * up)
        return [w["lm_head.weight"] @ self._norm(v, w["model.norm.weight"]) for v in x]

    def _norm(self, x: Floats, weight: Floats) -> Floats:
        scale = np.sqrt((x**2).mean() + self.config.norm_epsilon)
        result: Floats = x / scale * weight
        return result

    def _qkv(self, x: Floats, layer: str) -> tuple[Floats, Floats, Floats]:
        h = self._norm(x, self._weights[f"{layer}.input_layernorm.weight"])
        q, k, v = (
            (self._weights[f"{layer}.self_attn.{name}_proj.weight"] @ h).reshape(
                -1, self.config.head_dim
            )
            for name in "qkv"
        )
        return q, k, v

    def _attend(self, query: Floats, row: Row, layer: int) -> Floats:
        cells = [cell for cell, _ in row.seen] + [row.cell]
        places = np.asarray([place for _, place in row.seen] + [row.position])
        group = self.config.heads // self.config.kv_heads
        keys = self._rotate(np.stack([cell.keys[layer] for cell in cells]), places)
        values = np.stack([cell.values[layer] for cell in cells])
        turned = self._rotate(query[None], np.asarray([row.position]))[0]
        turned = turned.reshape(self.config.kv_heads, group, -1)
        scores = np.einsum("hgd,nhd->hgn", turned, keys) / np.sqrt(self.config.head_dim)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        output: Floats = np.einsum("hgn,nhd->hgd", weights, values)
        return output.reshape(-1)

    def _rotate(self, x: Floats, positions: npt.NDArray[np.int64]) -> Floats:
        """[n, heads, head_dim], by n positions."""
        angles = positions[:, None, None] * self._frequencies
        low, high = np.split(x, 2, axis=-1)
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate((low * cos - high * sin, high * cos + low * sin), axis=-1)


class DenseBranch:
    """What a branch must be, by its docstrings: cells at positions, and a last token without KV."""

    def __init__(
        self, model: Dense, cells: Sequence[tuple[Cell, int]], last: int, own: int
    ) -> None:
        self.model = model
        self.cells = list(cells)
        self.last = last
        self.own = own
        """Tokens it was forked with."""
        self.peers: list[DenseBranch] | None = None
        self.border = 0
        """Where the peers' tails stand."""
        self.live = False

    @classmethod
    def open(cls, model: Dense, tokens: Sequence[int]) -> DenseBranch:
        branch = cls(model, [], tokens[0], 0)
        branch.feed(tokens[1:])
        return branch

    @property
    def tokens(self) -> list[int]:
        return [cell.token for cell, _ in self.cells] + [self.last]

    def row(self) -> Row:
        """Of the last token."""
        seen, position = self._view()
        return Row(Cell(self.last), position, seen)

    def logits(self) -> Floats:
        return self.model.step([self.row()])[0]

    def feed(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            row = self.row()
            self.model.step([row])
            self.take(row.cell, token)

    def take(self, cell: Cell, token: int) -> None:
        """The last token was computed, and `token` follows."""
        self.cells.append((cell, self._end(self.cells)))
        self.last = token

    def fork(self) -> DenseBranch:
        child = DenseBranch(self.model, self.cells, self.last, len(self.cells) + 1)
        child.peers, child.border, child.live = self.peers, self.border, self.live
        return child

    def rewind(self, to: int) -> None:
        self.last = self.tokens[to - 1]
        self.cells = self.cells[: to - 1]
        self.own, self.border = min(self.own, to), min(self.border, to - 1)

    def splice(self, start: int, stop: int, text: Sequence[int], mode: SpliceMode) -> None:
        rest, total = self.tokens[stop:], len(self.cells) + 1
        if start == stop and not text:
            return
        if start < self.own:
            self.own = self.own + len(text) - (stop - start) if stop <= self.own else start
        if start == total:
            self.feed(text)
            return
        if not text and not rest:
            self.rewind(start)
            return
        if mode is SpliceMode.REENCODE or stop >= total - 1:
            self._anew(start, [*text, *rest])
            return
        behind = self.cells[stop:]
        self._anew(start, [*text, self.last])
        gap = self._end(self.cells) - behind[0][1] if mode is SpliceMode.SHIFT else 0
        self.cells += [(cell, place + gap) for cell, place in behind]
        self.last = rest[-1]

    def join(self, others: Sequence[DenseBranch], mode: SpliceMode) -> None:
        others = [other for other in others if len(other.tokens) > other.own]
        if mode is SpliceMode.REENCODE:
            self.feed([token for other in others for token in other.tokens[other.own :]])
        elif others:
            last = others[-1].last
            self.feed([last])
            for other in others:
                cells = other.cells[other.own :]
                if other is not others[-1]:
                    row = other.row()
                    self.model.step([row])
                    cells = [*cells, (row.cell, other._end(other.cells))]
                if cells:
                    gap = self._end(self.cells) - cells[0][1] if mode is SpliceMode.SHIFT else 0
                    self.cells += [(cell, place + gap) for cell, place in cells]
            self.last = last

    def share(self, others: Sequence[DenseBranch]) -> None:
        self.peers, self.border, self.live = list(others), max(0, self.own - 1), True

    def _anew(self, start: int, tokens: Sequence[int]) -> None:
        self.cells, self.last = self.cells[:start], tokens[0]
        self.feed(tokens[1:])

    def _view(self) -> tuple[list[tuple[Cell, int]], int]:
        if not self.peers:
            return self.cells, self._end(self.cells)
        seen = self.cells[: self.border]
        for peer in self.peers:
            tail = peer.cells[peer.own :]
            if tail:
                gap = self._end(seen) - tail[0][1]
                seen = [*seen, *((cell, place + gap) for cell, place in tail)]
        own = self.cells[self.border :]
        position = self._end(self.cells)
        gap = self._end(seen) - (own[0][1] if own else position)
        return [*seen, *((cell, place + gap) for cell, place in own)], position + gap

    @staticmethod
    def _end(cells: Sequence[tuple[Cell, int]]) -> int:
        return max((place for _, place in cells), default=-1) + 1
