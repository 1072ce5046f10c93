"""Populations of reasoning paths, grown a step at a time, weighed by a verifier and resampled (Puri
et al., arXiv 2502.01618; dossier S 2).

The target is the policy's distribution of paths, times the weights of their steps' scores: with
"log" and the newest score, what the policy would say given that every step is right. The policy
proposes, so its own probabilities cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ponder.runtime import BranchPath, InputError, unknown
from ponder.strategies.api import Context
from ponder.strategies.fitting.steps import Fitting
from ponder.strategies.particles.chain import Chain, Rules
from ponder.strategies.particles.cloud import Cloud
from ponder.strategies.particles.fits import check_fits, fitting_of
from ponder.strategies.particles.resampling import check_scheme, multinomial
from ponder.strategies.particles.weights import SCALES, check_scale
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Node, Tree, complete_or_last
from ponder.verifiers import Fit

TARGETS = ("product", "newest")
FINISHED = ("keep", "compete")


@dataclass(slots=True, kw_only=True, eq=False)
class Populations:
    path: BranchPath
    """Of all draws."""
    tree: Tree = field(default_factory=Tree.planted)
    chains: list[Chain] = field(default_factory=list[Chain])
    queue: list[Expansion] = field(default_factory=list[Expansion])
    iteration: int = 0
    weights: dict[int, float] = field(default_factory=dict[int, float])
    """Of the particles answered with, by node: 1 is an average particle's."""
    evidence: list[float] = field(default_factory=list[float])
    """log evidence of each finished population, in order of iterations, then of chains."""
    swaps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Particles(TreeSearch[Populations]):
    """Settings that all particle methods share."""

    source: ClassVar[str] = "Puri et al. 2025, arXiv 2502.01618"

    particles: int = 8
    """In a population."""
    scale: str = "log"
    """From a score to a weight: "log" (the score), "logit" (its odds) or "raw" (exp of it)."""
    softness: float = 1.0
    """Log-weights are divided by this; above 1 all paths are more alike."""
    target: str = "product"
    """"product": each step's weight counts; "newest": the newest score alone, so that a step brings
    the ratio to the one before.
    """
    resampling: str = "systematic"
    """multinomial, stratified, systematic or residual."""
    threshold: float = 0.5
    """Resample when the effective size falls to this share of the population: 1 always, as the
    source does; 0 never.
    """
    fits: tuple[Fit, ...] = ()
    """What the whole text must fit: grammars, and potentials by name; with any, steps are drawn
    token by token, and their weights count.
    """
    proposal: str = "adaptive"
    """A token is drawn: "adaptive": of what masks leave, by rejection; "rejection": by rejection
    alone; "policy": of everything, and weighed; "local": as adaptive, its weight ignored, which is
    locally constrained decoding, and biased.
    """
    most_checks: int | None = None
    """Tokens that potentials may be asked about for one token, after which the path is given up,
    which biases weights downwards; None asks on.
    """
    ahead: int = 1
    """Tokens that potentials are asked about at once, in case the first is refused: what is drawn
    is the same, a predicate is asked less often, about more.
    """
    finished: str = "keep"
    """"keep": a finished path keeps its weight; "compete": its last score counts again at every
    step of the others, as in the source's code.
    """

    def check_particles(self, *counts: str) -> None:
        """Raises `InputError` for settings out of range."""
        self.check("particles", *counts)
        check_scale(self.scale)
        check_scheme(self.resampling)
        check_fits(self)
        if not 0 < self.softness < math.inf:
            raise InputError(f"softness is {self.softness!r}; it must be above 0")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold!r}; it must be in [0, 1]")
        for name, allowed in (("target", TARGETS), ("finished", FINISHED)):
            if getattr(self, name) not in allowed:
                raise InputError(unknown(name, getattr(self, name), allowed))

    @property
    def fitted(self) -> bool:
        return bool(self.fits)

    def fitting(self, ctx: Context) -> Fitting | None:
        return fitting_of(ctx, self) if self.fitted else None

    def needs(self) -> dict[str, frozenset[str]]:
        # As the base class of a generic dataclass with slots, it has to be named.
        found = TreeSearch[Populations].needs(self)
        return {**found, self.engine: found[self.engine] | ({"logits"} if self.fitted else set())}

    @property
    def temperatures(self) -> tuple[float, ...]:
        """One a population; the last is the one to answer with."""
        return (1.0,)

    @property
    def rounds(self) -> int:
        """Times that each population is drawn."""
        return 1

    @property
    def keeps(self) -> bool:
        """Whether the particles of all rounds are answered with, not those of the last alone."""
        return False

    @property
    def in_flight(self) -> None:
        return None

    @property
    def steps(self) -> int:
        return self.particles * self.depth * self.rounds * len(self.temperatures)

    def start(self, path: BranchPath) -> Populations:
        state = Populations(path=path.child("particles"))
        self._begin(state, [()] * len(self.temperatures))
        return state

    def ask(self, state: Populations) -> Expansion | None:
        return state.queue.pop(0) if state.queue else None

    def tell(self, state: Populations, expansion: Expansion, children: Sequence[Node]) -> None:
        chain = state.chains[expansion.lane]
        if not chain.take(expansion.node, children):
            return
        self._advance(state, chain)
        if not any(c.waiting for c in state.chains):
            self._conclude(state)

    def leaves(self, state: Populations) -> list[Node]:
        """The particles, each once (`weight` says how much it counts); where all died or there was
        no time, what else there is.
        """
        found = [state.tree[number] for number in state.weights]
        if self.fitted:  # what does not fit is no answer, whatever became of the others
            found = [node for node in found or state.tree.nodes if node.end is End.GOAL]
            return sorted(found, key=lambda n: n.place)
        return sorted(found, key=lambda n: n.place) or complete_or_last(state.tree)

    def weight(self, state: Populations, node: Node) -> float:
        return state.weights.get(node.number, 1.0)

    def report(self, state: Populations) -> dict[str, object]:
        missed: dict[str, object] = {}
        if self.fitted:
            missed = {"proposal": self.proposal}
            if not self.leaves(state):
                texts = [state.tree.text(node.number) for node in state.tree.nodes]
                missed["farthest"] = max(texts, key=len)
        return {
            **missed,
            "scale": self.scale,
            "target": self.target,
            "log_evidence": [x if x > -math.inf else None for x in state.evidence],
            "resamplings": sum(chain.resamplings for chain in state.chains),
            "swaps": state.swaps,
        }

    def _advance(self, state: Populations, chain: Chain) -> None:
        """As far as it comes without new steps: those of a retained path are there."""
        rules = self._rules(self.temperatures[chain.lane])
        while not chain.waiting and not chain.over(state.tree):
            expanded = set(chain.grown) - {0} if self._last(state) else set[int]()
            for number in chain.advance(state.tree, rules):
                if not state.tree[number].children:
                    state.tree.finish(number, End.PRUNED)
            for number in expanded:
                state.tree.finish(number, End.EXPANDED)
            self._queue(state, chain)

    def _queue(self, state: Populations, chain: Chain) -> None:
        due = chain.due(state.tree)
        chain.waiting = len(due)
        state.queue += [
            Expansion(node=number, width=width, lane=chain.lane) for number, width in due.items()
        ]

    def _begin(self, state: Populations, references: Sequence[tuple[int, ...]]) -> None:
        state.chains = [
            Chain(
                lane=lane,
                path=state.path.child(state.iteration, lane),
                cloud=Cloud[int].of([0] * self.particles),
                reference=reference,
            )
            for lane, reference in enumerate(references)
        ]
        for chain in state.chains:
            self._queue(state, chain)

    def _conclude(self, state: Populations) -> None:
        """A round is over: keep what it answers with, then the next one, if any."""
        state.evidence += [chain.cloud.log_evidence for chain in state.chains]
        last = self._last(state)
        if last or self.keeps:
            self._answer(state, state.chains[-1].cloud)
        references = [] if last else self.references(state)
        kept = {0, *(n for path in references for n in path)} if references else set[int]()
        for node in list(state.tree.open()):
            if node.number not in kept:
                state.tree.finish(node.number, End.EXPANDED if node.children else End.PRUNED)
        if not last:
            state.iteration += 1
            self._begin(state, references)

    def _last(self, state: Populations) -> bool:
        """Whether no other round comes after: then nothing is retained."""
        return state.iteration + 1 == self.rounds

    def _answer(self, state: Populations, cloud: Cloud[int]) -> None:
        rounds = self.rounds if self.keeps else 1
        for number, share in zip(cloud.particles, cloud.shares, strict=True):
            if share:
                weight = share * self.particles / rounds
                state.weights[number] = state.weights.get(number, 0.0) + weight

    def references(self, state: Populations) -> list[tuple[int, ...]]:
        """What each population of the next round retains: one of its particles, by its weight."""
        return [self.retained(state, chain) for chain in state.chains]

    def retained(self, state: Populations, chain: Chain) -> tuple[int, ...]:
        if chain.cloud.log_evidence == -math.inf:
            return ()
        (at,) = multinomial(chain.cloud.shares, 1, chain.path.child("retained").uniform)
        return tuple(node.number for node in state.tree.path(chain.cloud.particles[at]))

    def log_weight(self, tree: Tree, path: Sequence[int]) -> float:
        """Of a whole path, at temperature 1."""
        return math.fsum(self._rules(1.0).increment(tree, tree[n], True) for n in path)

    def _rules(self, temperature: float) -> Rules:
        softness = self.softness * temperature

        def potential(node: Node) -> float:
            return -math.inf if node.value is None else SCALES[self.scale](node.value)

        def increment(tree: Tree, node: Node, grew: bool) -> float:
            if not grew:
                return potential(node) / softness if self.finished == "compete" else 0.0
            drawn = node.step.log_weight
            cut = self.fitted and node.end in (End.LENGTH, End.DEPTH)
            if drawn == -math.inf or cut:
                return -math.inf
            if not node.step.text and node.step.score is None and node.end is End.GOAL:
                return drawn  # an end token alone, which nobody judges
            change = potential(node)
            if self.target == "newest" and node.depth > 1 and change > -math.inf:
                change -= potential(tree[node.parent or 0])
            return drawn + change / softness

        return Rules(increment=increment, resampling=self.resampling, threshold=self.threshold)
