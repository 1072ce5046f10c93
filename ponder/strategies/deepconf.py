"""DeepConf online: a few whole attempts set a threshold, and those after them end as soon as their
confidence falls below it (Fu et al. 2025, arXiv 2508.15260, section 3.2).

How it is run is `strategies.confiding`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ponder.runtime import InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.concurrency import collected
from ponder.strategies.confiding import Confiding, Limits
from ponder.strategies.drawing import Drawing
from ponder.strategies.measuring import available, check_window
from ponder.strategies.prompting import held
from ponder.verifiers import WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepConf(Drawing):
    """Draw attempts, end those that lose confidence, and stop once an answer has nearly all weight.

    Gives the attempts that may vote, each measured by its lowest group.
    """

    source: ClassVar[str] = "Fu et al. 2025, arXiv 2508.15260"

    warmup: int = 16
    """Attempts that are drawn whole, to set the threshold."""
    most: int = 256
    """Attempts, those among them."""
    eta: float = 10.0
    """Percent of the first attempts that are above the threshold, in (0, 100): 10 cuts hard, 90 is
    lenient.
    """
    window: int = WINDOW
    """Tokens of the groups that are watched. An attempt that ends sooner is one group."""
    consensus: float = 0.95
    """Share of the weight, in (0, 1]: once an answer has it, nothing more is drawn."""
    confidence: int = 20
    """Likeliest tokens that a token's confidence is of; fewer where the engine tells of fewer."""
    chunk: int = 64
    """Tokens between two looks at an attempt's confidence."""
    parallel: int = 16
    """Attempts under way at once behind the first ones."""
    temperature: float = 0.6
    """0 takes the likeliest token."""
    top_p: float = 0.95
    """Draw from the likeliest tokens that make up this share; 1 is all."""

    def __post_init__(self) -> None:
        checks: list[tuple[str, object, bool, str]] = [
            ("warmup", self.warmup, self.warmup >= 1, "at least 1 attempt"),
            ("most", self.most, self.most >= self.warmup, f"at least warmup ({self.warmup})"),
            ("eta", self.eta, 0 < self.eta < 100, "a percentage in (0, 100)"),
            ("consensus", self.consensus, 0 < self.consensus <= 1, "a share in (0, 1]"),
            ("confidence", self.confidence, self.confidence >= 1, "at least 1 token"),
            ("chunk", self.chunk, self.chunk >= 1, "at least 1 token"),
            ("parallel", self.parallel, self.parallel >= 1, "at least 1 attempt"),
        ]
        for name, value, good, allowed in checks:
            if not good:
                raise InputError(f"{name} is {value!r}; it must be {allowed}")
        check_window(self.window)
        self.sampling()

    def sampling(self, temperature: float | None = None) -> Sampling:
        return replace(Drawing.sampling(self, temperature), confidence=self.confidence)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        engine = ctx.engine(self.engine)
        limits = Limits(
            warmup=self.warmup,
            most=self.most,
            eta=self.eta,
            window=self.window,
            consensus=self.consensus,
            chunk=self.chunk,
            parallel=self.parallel,
        )
        params = held(ctx.question, available(self.sampling(), engine))
        async with self.root(ctx) as root:
            if root is None:
                return
            confiding = Confiding(ctx, engine, root, params, limits)
            try:
                await confiding.draw()
            finally:
                confiding.close()
        for candidate in confiding.candidates():
            yield candidate

    def bound(self, load: Load) -> Bound:
        chunks = -(-self.max_tokens // self.chunk)
        return replace(
            self.drawing_bound(load, self.most),
            calls=self.warmup + (self.most - self.warmup) * chunks,
            branches=1 + max(self.warmup, min(self.parallel, self.most - self.warmup)),
        )

    def needs(self) -> dict[str, frozenset[str]]:
        chunked = self.most > self.warmup and self.max_tokens > self.chunk
        more = frozenset({"prefix_continuation"} if chunked else ())
        return {self.engine: self.drawing_needs() | more}
