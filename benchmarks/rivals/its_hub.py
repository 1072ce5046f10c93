"""its-hub as a contender: its self-consistency, best-of-N with its own judge, beam search and
its particle filter, as its own README calls them; questions at once on one event loop. What scores
steps is a hash of them, made here: it costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

from its_hub import BestOfN, SelfConsistency
from its_hub.api import AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.algorithms.particle_gibbs import ParticleFiltering
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.lms.step_generation import StepGeneration
from its_hub.core.orchestrator import LMOrchestrator
from its_hub.core.reward_models.llm_judge import LLMJudge

from benchmarks.rivals.asking import Answered, Ask, boxed, serve


class Hashed(AbstractProcessRewardModel):  # type: ignore[misc]  # untyped here
    """Scores in (0, 1) that depend on nothing but the text."""

    async def ascore(self, prompt: Any, steps: Any) -> Any:  # Any: one text or several
        return self.score(prompt, steps)

    def score(self, prompt: Any, steps: Any) -> Any:  # Any: one text or several
        if isinstance(steps, str):
            return (blake2b(steps.encode(), digest_size=1).digest()[0] + 0.5) / 256
        return [self.score(prompt, each) for each in steps]


class ItsHub:
    """An `Asker`."""

    def __init__(self) -> None:
        self.versions = {"its-hub": version("its-hub"), "aiohttp": version("aiohttp")}
        self.children: Sequence[int] = ()
        self._loop = asyncio.new_event_loop()
        # The library is untyped here: `Any` stands for its model and algorithm.
        self._model: Any = None
        self._algorithm: Any = None

    def prepare(self, ask: Ask) -> None:
        if self._model is not None:
            self._loop.run_until_complete(self._model.close())
        self._model = OpenAICompatibleLanguageModel(
            endpoint=ask.url, api_key="x", model_name=ask.model, temperature=0.8
        )
        limit = {} if ask.concurrency is None else {"max_concurrency": ask.concurrency}
        orchestrator = LMOrchestrator(**limit)
        steps = StepGeneration(max_steps=12, step_token="\n\n", stop_token=r"\boxed")
        if ask.method == "beam":
            self._algorithm = BeamSearch(steps, Hashed(), beam_width=4)
        elif ask.method == "particle_filter":
            self._algorithm = ParticleFiltering(steps, Hashed())
        elif ask.method == "self_consistency":
            self._algorithm = SelfConsistency(boxed, orchestrator=orchestrator)
        else:
            self._algorithm = BestOfN(LLMJudge(self._model), orchestrator=orchestrator)

    def go(self, ask: Ask) -> list[Answered]:
        return self._loop.run_until_complete(self._all(ask))

    async def _all(self, ask: Ask) -> list[Answered]:
        places = asyncio.Semaphore(ask.at_once)

        async def one(question: str) -> Answered:
            async with places:
                return await self._one(question, ask)

        return await asyncio.gather(*map(one, ask.questions))

    async def _one(self, question: str, ask: Ask) -> Answered:
        try:
            async with asyncio.timeout(ask.limit):
                result = await self._algorithm.ainfer(
                    self._model, question, budget=ask.n, return_response_only=False
                )
        except TimeoutError:
            return Answered(late=True)
        except Exception as error:  # told as it is
            return Answered(error=f"{type(error).__name__}: {error}")
        usage = getattr(result, "usage", None)  # searches tell none
        return Answered(
            answer=boxed(result.the_one["content"]),
            told=usage.total_tokens if usage is not None else None,
        )


if __name__ == "__main__":
    serve(ItsHub)
