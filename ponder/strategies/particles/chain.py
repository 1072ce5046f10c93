"""One population of reasoning paths on its way: whose steps are due, and what becomes of it when
they are there.

A particle is a node of the search tree, so copying one is growing its node twice. With a retained
path this is conditional sampling (particle Gibbs): slot 0 follows the path whatever happens, and a
particle that copies it goes on from there by itself (Andrieu et al. 2010; dossier S 2.3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ponder.runtime import BranchPath
from ponder.strategies.particles.cloud import Cloud
from ponder.strategies.search.tree import Node, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a population is weighed and resampled."""

    increment: Callable[[Tree, Node, bool], float]
    """To the log-weight of a particle at this node; False: it was there already, and finished."""
    resampling: str
    threshold: float
    """Resample where the effective size is below so large a share of the population, or equal."""


@dataclass(slots=True, kw_only=True, eq=False)
class Chain:
    lane: int
    path: BranchPath
    """Of its draws in this iteration."""
    cloud: Cloud[int]
    """Particles are nodes' numbers."""
    reference: tuple[int, ...] = ()
    """The retained path, from its first step on."""
    level: int = 0
    waiting: int = 0
    """Nodes whose next steps were asked for and are not here."""
    grown: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """By node, next steps that came."""
    resamplings: int = 0

    @property
    def held(self) -> int:
        """Particles that do not choose their way."""
        return 1 if self.reference else 0

    def due(self, tree: Tree) -> dict[int, int]:
        """How many next steps each node needs, in the order of the particles."""
        logs = self.cloud.log_weights
        free = list(zip(self.cloud.particles, logs, strict=True))[self.held :]
        return Counter(n for n, log in free if log > -math.inf and tree[n].end is None)

    def over(self, tree: Tree) -> bool:
        """Whether nothing of it can grow; the dead cannot."""
        kept = self.level < len(self.reference)
        return not kept and not self.due(tree)

    def take(self, node: int, children: Sequence[Node]) -> bool:
        """Steps of one node came; whether all are here."""
        ordered = sorted(children, key=lambda child: child.place)
        self.grown[node] = [child.number for child in ordered]
        self.waiting -= 1
        return not self.waiting

    def advance(self, tree: Tree, rules: Rules) -> set[int]:
        """Everybody takes the step that came, is weighed, and may be resampled.

        Returns:
            Nodes that nobody holds any more.
        """
        before = self.cloud.particles
        self.cloud = self._stepped(tree, rules)
        self.grown = {}
        self.level += 1
        after = set(self.cloud.particles)
        if not self.over(tree) and self._uneven(rules):
            uniform = self.path.child("resample", self.level).uniform
            self.cloud = self.cloud.resampled(rules.resampling, uniform, keep=self.held)
            self.resamplings += 1
        return (after | set(before)) - set(self.cloud.particles) - {0, *self.reference}

    def _stepped(self, tree: Tree, rules: Rules) -> Cloud[int]:
        live = self.due(tree)
        came = {node: list(children) for node, children in self.grown.items()}
        particles, increments = list[int](), list[float]()
        for slot, node in enumerate(self.cloud.particles):
            if slot < self.held:
                at, grew = self._kept(tree)
            elif node in live and came.get(node):
                at, grew = came[node].pop(0), True
            else:
                at, grew = node, False
            particles.append(at)
            short = not grew and slot >= self.held and tree[node].end is None
            increments.append(
                -math.inf if short else rules.increment(tree, tree[at], grew)
            )  # a step that did not come is a particle that died
        return self.cloud.moved(particles).weighed(increments)

    def _kept(self, tree: Tree) -> tuple[int, bool]:
        """Where the retained path is next, and whether that is a step further."""
        return self.reference[min(self.level, len(self.reference) - 1)], self.level < len(
            self.reference
        )

    def _uneven(self, rules: Rules) -> bool:
        return self.cloud.effective <= rules.threshold * len(self.cloud.particles) * (1 + 1e-12)
