"""The prefix tree: which token sequences have KV somewhere in the pool, at token granularity.

An edge is a run of tokens and the spans that hold their KV; a page may be held by several nodes
with different visible ranges. The tree holds its pages like any view does, and gives back the least
recently used leaves when asked (SGLang's RadixAttention, arXiv 2312.07104).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from ponder.runtime.engine.pool import PagePool
from ponder.runtime.engine.spans import Span, cut
from ponder.runtime.runners.plan import common

Tokens = npt.NDArray[np.int64]


class _Node:
    __slots__ = ("children", "parent", "queued", "spans", "tokens", "used")

    def __init__(self, parent: _Node | None, tokens: Tokens, spans: Sequence[Span], used: int):
        self.parent = parent
        self.tokens = tokens
        self.spans = spans
        self.used = used
        self.children: dict[int, _Node] = {}
        self.queued = False


class RadixTree:
    """Prefixes and their spans, one root a salt (an adapter's KV is nobody else's)."""

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._roots: dict[str, _Node] = {}
        self._holds: Counter[int] = Counter()
        self._clock = 0
        self._queue: list[tuple[int, int, _Node]] = []
        """Nodes that became leaves, by when they were used last as far as the queue knows: what a
        node did since is looked up when its turn comes, so that eviction never walks the tree.
        """
        self._queued = count()
        self.evicted = 0
        """Pages that eviction set free so far."""

    @property
    def alone(self) -> int:
        """Pages that nothing else holds, for inspection: it looks at every page."""
        holds = list(self._holds.items())  # in one go: another thread may ask
        return sum(self._pool.holders(page) == count for page, count in holds)

    def match(self, tokens: Sequence[int], *, salt: str = "") -> list[Span]:
        """The spans of the longest known prefix of `tokens`; the caller retains them."""
        node, rest = self._root(salt), np.asarray(tokens, np.int64)
        spans: list[Span] = []
        length = 0
        self._clock += 1
        while len(rest) and (child := node.children.get(int(rest[0]))):
            same = common(child.tokens, rest)
            child.used = self._clock
            spans += cut(child.spans, 0, same)
            length += same
            if same < len(child.tokens):
                break
            node, rest = child, rest[same:]
        return cut(spans, 0, length)

    def insert(self, tokens: Sequence[int], spans: Sequence[Span], *, salt: str = "") -> None:
        """Remember the spans of `tokens`; where a prefix is known, its old spans stay."""
        node, rest = self._root(salt), np.asarray(tokens, np.int64)
        start = 0
        self._clock += 1
        while len(rest):
            child = node.children.get(int(rest[0]))
            if child is None:
                self._attach(node, rest, cut(spans, start, start + len(rest)))
                return
            same = common(child.tokens, rest)
            node = child if same == len(child.tokens) else self._split(child, same)
            node.used = self._clock
            start, rest = start + same, rest[same:]

    def evict(self, pages: int, *, all_leaves: bool = False) -> int:
        """Drop leaves, least recently used first, until `pages` pages came free; returns how many
        did. Leaves whose pages are all in use elsewhere stay, unless `all_leaves`, and count as
        used now.
        """
        before = self._pool.free
        self._clock += 1
        while self._pool.free < before + pages and (leaf := self._oldest()) is not None:
            if all_leaves or self._idle(leaf):
                self._remove(leaf)
            else:
                leaf.used = self._clock
                self._enqueue(leaf)
        freed = self._pool.free - before
        self.evicted += freed
        return freed

    def nodes(self) -> Iterator[tuple[Tokens, Sequence[Span]]]:
        """Every edge, for inspection."""
        stack = [child for root in self._roots.values() for child in root.children.values()]
        while stack:
            node = stack.pop()
            stack += node.children.values()
            yield node.tokens, node.spans

    def _root(self, salt: str) -> _Node:
        if salt not in self._roots:
            self._roots[salt] = _Node(None, np.empty(0, np.int64), (), 0)
        return self._roots[salt]

    def _attach(self, parent: _Node, tokens: Tokens, spans: Sequence[Span]) -> None:
        self._hold(spans)
        node = parent.children[int(tokens[0])] = _Node(parent, tokens, spans, self._clock)
        self._enqueue(node)

    def _split(self, node: _Node, at: int) -> _Node:
        """Put a new node above `node` that takes its first `at` tokens."""
        parent = node.parent
        if parent is None:
            raise TypeError("a root has no tokens to split")
        old = node.spans
        upper = _Node(parent, node.tokens[:at], cut(old, 0, at), node.used)
        node.spans = cut(old, at, len(node.tokens))
        node.tokens, node.parent = node.tokens[at:], upper
        parent.children[int(upper.tokens[0])] = upper
        upper.children[int(node.tokens[0])] = node
        self._hold(upper.spans)
        self._hold(node.spans)
        self._let_go(old)
        return upper

    def _hold(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self._pool.retain(span.pages)
            self._holds.update(span.pages)

    def _let_go(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self._pool.release(span.pages)
            for page in span.pages:
                self._holds[page] -= 1
                if not self._holds[page]:
                    del self._holds[page]

    def _idle(self, node: _Node) -> bool:
        """Whether some page of the node is held by nothing but the tree."""
        return any(
            self._pool.holders(page) == self._holds[page]
            for span in node.spans
            for page in span.pages
        )

    def _oldest(self) -> _Node | None:
        """The leaf that was not used for longest, out of the queue; None if all were used now."""
        while self._queue and self._queue[0][0] < self._clock:
            used, _, node = heapq.heappop(self._queue)
            node.queued = False
            if node.used > used:
                self._enqueue(node)
            elif not node.children:
                return node
        return None

    def _enqueue(self, node: _Node) -> None:
        if not node.queued and not node.children and node.parent is not None:
            node.queued = True
            heapq.heappush(self._queue, (node.used, next(self._queued), node))

    def _remove(self, leaf: _Node) -> None:
        if leaf.parent is not None:
            del leaf.parent.children[int(leaf.tokens[0])]
            self._let_go(leaf.spans)
            self._enqueue(leaf.parent)
